/// Everything that is known of a request: gathered from the managed objects, shown to people.
#pragma once

#include "app/muster/client.h"
#include "app/muster/output.h"

#include <nlohmann/json.hpp>

#include <string>

namespace muster::app {

/// A request with its process, decision, agreement, progress and report. Members are null while there is nothing yet.
struct JobView {
    std::string request_dn;
    nlohmann::json request;      ///< attributes
    nlohmann::json process;      ///< attributes
    nlohmann::json decision;     ///< vendor data of the process
    nlohmann::json agreement;    ///< vendor data of the process
    nlohmann::json progress;     ///< vendor data of the process
    nlohmann::json report;       ///< attributes
    nlohmann::json participants; ///< vendor data of the report
    nlohmann::json artefact;     ///< vendor data of the model

    /// NOT_STARTED, RUNNING, FINISHED, CANCELLED, ... of the process, or of the request while there is none.
    [[nodiscard]] std::string status() const;
    [[nodiscard]] bool ended() const;
    /// What people read beside the status: phase, reason.
    [[nodiscard]] std::string words() const;
    [[nodiscard]] nlohmann::json to_json() const;
};

/// Reads all of it. Errors: as Client.
[[nodiscard]] Result<JobView> view_job(Client& client, const std::string& request_dn);

/// One line of live progress: "TRAINING 42 %  epoch 3  loss 0.213  18 430 rows/s (gnb-1 ...)  ETA 12 s".
[[nodiscard]] std::string progress_line(const JobView& view);
/// The report for people, several lines.
[[nodiscard]] std::string report_text(const JobView& view);
/// The report as {request, decision, agreement, participants, metrics, model, timings} (api/demo.md).
[[nodiscard]] nlohmann::json report_json(const JobView& view);

} // namespace muster::app
