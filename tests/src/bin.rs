//! The `staffa` program under a name the integration tests can find.

fn main() -> std::process::ExitCode {
    staffa_server::main()
}
