/// Ctrl-C and SIGTERM as a flag.
#pragma once

namespace muster::app {

/// Takes over SIGINT and SIGTERM for this process. Call once, before threads are made.
void catch_interrupts();
/// Whether one came.
[[nodiscard]] bool interrupted();
/// A descriptor that becomes readable when one came, for poll().
[[nodiscard]] int interrupt_fd();

} // namespace muster::app
