/// One rank of a bench: takes orders as JSON lines on stdin and answers each with one JSON line on stdout.
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "collective/group.h"

#include <functional>
#include <memory>

namespace muster::app {

/// How a rank becomes a member: Group::connect of this process's sockets.
using ConnectGroup =
    std::function<Result<std::unique_ptr<collective::Group>>(collective::GroupSpec, int listener, Deadline)>;

/// Serves one parent (bench_group.h) until its end of the pipe closes, and returns the exit code. An order that fails
/// is answered with {"error": reason}, and ends the rank. The orders:
///   listen   {host, buffer_bytes, second}    makes the caller's buffer or two, opens a socket    -> {port}
///   connect  {a group's spec}           leaves its group if any, joins the new one      -> {cipher}
///   measure  {operation, bytes, rounds, warm_up}    times rounds, checks the last result
///                                       -> {times_ms, cpu_ms, bytes_sent, bytes_received}, the last three of one round
///   memory   {}                         -> {bytes}: most resident memory since listen, beyond what it was then
int run_bench_rank(const ConnectGroup& connect);

} // namespace muster::app
