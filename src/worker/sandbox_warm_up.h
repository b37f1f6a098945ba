/// What torch and OpenSSL do only once, done before the box closes: they read files and start threads.
#pragma once

#include "base/result.h"

namespace muster::worker {

/// Settings of this process that must come before everything else: the time zone is UTC and malloc has one
/// arena, so that neither reads files later; torch computes without oneDNN, whose kernels are compiled at
/// run time into executable memory (docs/decisions/0013-no-onednn-in-the-worker.md). SIGPIPE is ignored.
void settle_process();

/// First part, on the calling thread alone: OpenSSL with a whole mutual-TLS handshake in memory. Starts no thread.
/// Errors: unavailable, with what does not work.
[[nodiscard]] Result<void> warm_up_tls();

/// Second part, on the calling thread alone: torch with a tiny training and an exported archive. Starts no thread that
/// outlives it, unless torch knows of a device: then one for each. Errors: unavailable, with what does not work.
[[nodiscard]] Result<void> warm_up_alone();

/// Third part: a training with `threads` threads through c10d::Reducer, on a thread of its own.
/// Errors: unavailable, with what does not work.
[[nodiscard]] Result<void> warm_up_threads(int threads);

/// All of it for looking at archives, on the calling thread alone: writes, loads and runs a tiny archive, takes its
/// weights out, and fails to load another. Errors: unavailable, with what does not work.
[[nodiscard]] Result<void> warm_up_archives();

} // namespace muster::worker
