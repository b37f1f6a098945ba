/// Waiting for a request to end.
#pragma once

#include "app/muster/client.h"
#include "app/muster/job_view.h"
#include "base/clock.h"

#include <functional>
#include <string>

namespace muster::app {

/// How often the producer is asked.
inline constexpr auto follow_interval = std::chrono::milliseconds{500};

/// Calls `seen` with each new view until the request has ended, and returns the last one.
/// Errors: deadline_exceeded; as Client. `stop` ends it early with deadline_exceeded "interrupted".
[[nodiscard]] Result<JobView> follow(Client& client,
                                     const std::string& request_dn,
                                     Deadline deadline,
                                     const std::function<void(const JobView&)>& seen,
                                     const std::function<bool()>& stop);

/// Prints progress on stderr: one line that is redrawn on a terminal, a line for each change elsewhere.
class ProgressPrinter {
public:
    void show(const JobView& view);
    /// Ends the line that is being redrawn.
    void finish();

private:
    std::string last_{};
    std::string last_phase_{};
    SteadyTime last_time_{};
    bool open_line_{false};
};

} // namespace muster::app
