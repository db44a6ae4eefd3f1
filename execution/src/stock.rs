//! What an operator says as the one does in whose place it stands, its `stock`.

/// The methods of `ExecutionPlan` that are `stock`'s, by name.
macro_rules! as_stock {
    (name) => {
        fn name(&self) -> &str {
            self.stock.name()
        }
    };
    (properties) => {
        fn properties(&self) -> &::std::sync::Arc<::datafusion::physical_plan::PlanProperties> {
            self.stock.properties()
        }
    };
    (input_requirements) => {
        fn required_input_distribution(&self) -> Vec<::datafusion::physical_plan::Distribution> {
            self.input_distribution_requirements().into_per_child()
        }

        fn input_distribution_requirements(&self) -> ::datafusion::physical_plan::InputDistributionRequirements {
            self.stock.input_distribution_requirements()
        }
    };
    (maintains_input_order) => {
        fn maintains_input_order(&self) -> Vec<bool> {
            self.stock.maintains_input_order()
        }
    };
    (children) => {
        fn children(&self) -> Vec<&::std::sync::Arc<dyn ::datafusion::physical_plan::ExecutionPlan>> {
            self.stock.children()
        }
    };
    (apply_expressions) => {
        fn apply_expressions(
            &self,
            f: &mut dyn FnMut(
                &::std::sync::Arc<dyn ::datafusion::physical_expr::PhysicalExpr>,
            )
                -> ::datafusion::error::Result<::datafusion::common::tree_node::TreeNodeRecursion>,
        ) -> ::datafusion::error::Result<::datafusion::common::tree_node::TreeNodeRecursion> {
            self.stock.apply_expressions(f)
        }
    };
    (statistics) => {
        fn child_stats_requests(&self, partition: Option<usize>) -> Vec<::datafusion::physical_plan::ChildStats> {
            self.stock.child_stats_requests(partition)
        }

        fn statistics_from_inputs(
            &self,
            inputs: &[::std::sync::Arc<::datafusion::common::Statistics>],
            args: &::datafusion::physical_plan::StatisticsArgs,
        ) -> ::datafusion::error::Result<::std::sync::Arc<::datafusion::common::Statistics>> {
            self.stock.statistics_from_inputs(inputs, args)
        }
    };
    (fetch) => {
        fn fetch(&self) -> Option<usize> {
            self.stock.fetch()
        }
    };
    ($method:ident, $($others:ident),+) => {
        $crate::stock::as_stock!($method);
        $crate::stock::as_stock!($($others),+);
    };
}

/// `with_new_children`, which is still required, although it is deprecated for callers.
macro_rules! with_new_children {
    () => {
        fn with_new_children(
            self: ::std::sync::Arc<Self>,
            children: Vec<::std::sync::Arc<dyn ::datafusion::physical_plan::ExecutionPlan>>,
        ) -> ::datafusion::error::Result<::std::sync::Arc<dyn ::datafusion::physical_plan::ExecutionPlan>> {
            let recompute = ::datafusion::physical_plan::ChildrenPropertiesMode::Recompute;
            self.replace_children(
                children,
                ::datafusion::physical_plan::ReplaceChildrenOptions::new(recompute),
            )
        }
    };
}

/// Shown as its `stock`.
macro_rules! shown_as_stock {
    ($operator:ty) => {
        impl ::datafusion::physical_plan::DisplayAs for $operator {
            fn fmt_as(
                &self,
                format: ::datafusion::physical_plan::DisplayFormatType,
                f: &mut ::std::fmt::Formatter<'_>,
            ) -> ::std::fmt::Result {
                self.stock.fmt_as(format, f)
            }
        }
    };
}

pub(crate) use {as_stock, shown_as_stock, with_new_children};
