//! What of a table a role is shown: row policies, and masks of columns.
//!
//! They are rows of their own beside a table's grants, so that a server that does not know them refuses to read the catalog
//! instead of showing everything.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The row policies of a table, and the masks of its columns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Security {
    /// `ENABLE ROW LEVEL SECURITY`
    pub enabled: bool,
    /// `FORCE ROW LEVEL SECURITY`: for the owner, too.
    pub forced: bool,
    /// By name.
    pub policies: BTreeMap<String, Policy>,
    /// `ATTACH MASKING POLICY`
    pub masks: Vec<AttachedMask>,
}

impl Security {
    /// Whether nothing was ever said.
    pub fn is_empty(&self) -> bool {
        *self == Security::default()
    }

    /// Whether a role is named in it.
    pub fn names(&self, role: Uuid) -> bool {
        let mut policies = self.policies.values();
        policies.any(|policy| policy.roles.contains(&role)) || self.masks.iter().any(|mask| mask.role == Some(role))
    }
}

/// `CREATE POLICY`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// `AS PERMISSIVE`: one of these must hold; `AS RESTRICTIVE`: all of those.
    pub permissive: bool,
    /// `FOR`
    pub command: PolicyCommand,
    /// `TO`; none: everybody.
    pub roles: Vec<Uuid>,
    /// Which rows are there.
    pub using: Option<PolicyCondition>,
    /// Which rows may come.
    pub check: Option<PolicyCondition>,
    /// `COMMENT ON POLICY`
    pub comment: Option<String>,
}

/// A condition over the rows of a table, as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyCondition {
    /// The condition.
    pub text: String,
    /// What the table was called then.
    pub relation: String,
    /// What its columns that the condition may mean were called then, with their field ids.
    pub columns: Vec<(String, i32)>,
    /// Where the names of other relations and of functions are looked up.
    pub search_path: Vec<String>,
}

/// What a policy is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PolicyCommand {
    /// `ALL`
    All,
    /// `SELECT`
    Select,
    /// `INSERT`
    Insert,
    /// `UPDATE`
    Update,
    /// `DELETE`
    Delete,
}

impl PolicyCommand {
    /// As `pg_policies` shows it.
    pub fn name(self) -> &'static str {
        match self {
            PolicyCommand::All => "ALL",
            PolicyCommand::Select => "SELECT",
            PolicyCommand::Insert => "INSERT",
            PolicyCommand::Update => "UPDATE",
            PolicyCommand::Delete => "DELETE",
        }
    }

    /// As `pg_policy` keeps it.
    pub fn letter(self) -> char {
        match self {
            PolicyCommand::All => '*',
            PolicyCommand::Select => 'r',
            PolicyCommand::Insert => 'a',
            PolicyCommand::Update => 'w',
            PolicyCommand::Delete => 'd',
        }
    }
}

/// `CREATE MASKING POLICY`: what is shown in the place of a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaskingPolicy {
    /// The columns it takes, and their types, as SQL says them.
    pub columns: Vec<(String, String)>,
    /// What is shown.
    pub expression: String,
    /// Where the names of functions are looked up.
    pub search_path: Vec<String>,
}

/// `ATTACH MASKING POLICY`: of those of a column that are for a role, the one of the highest priority is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachedMask {
    /// The masking policy, by its name.
    pub policy: String,
    /// The column that is masked, by its field id.
    pub column: i32,
    /// The columns that the policy takes, by their field ids.
    pub inputs: Vec<i32>,
    /// `None`: everybody.
    pub role: Option<Uuid>,
    /// The higher wins.
    pub priority: i32,
}
