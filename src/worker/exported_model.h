/// ExportedModel: runs the archives that ModelProgram writes, on raw rows.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace muster::worker {

/// Raw rows for an exported model.
struct RawRows {
    std::int64_t rows{};
    std::vector<double> numbers;                      ///< [rows, number inputs] row-major, NaN = missing
    std::vector<std::vector<std::string>> categories; ///< [rows][category inputs], "" = missing
};

/// What a model of series reads: `length` consecutive rows of one series.
struct ModelWindows {
    std::int64_t length{1};
    std::string time{};   ///< column that orders rows; empty: they are in order
    std::string series{}; ///< column that says which series a row is of; empty: all of one
};

/// An archive that export_archive() wrote, or the file of boosted trees (tree_archive.h). One thread at a time.
class ExportedModel {
public:
    /// Loads an archive, which may come from anybody: see sandbox.h. `fd` is a file, read by position, and may be
    /// closed afterwards; errors call it `name`. Errors: invalid_argument, when it is not one of ours.
    [[nodiscard]] static Result<ExportedModel> load(int fd, const std::string& name);
    /// The same from a path. Errors: also not_found.
    [[nodiscard]] static Result<ExportedModel> load(const std::filesystem::path& path);
    ~ExportedModel();
    ExportedModel(ExportedModel&&) noexcept;
    ExportedModel& operator=(ExportedModel&&) noexcept;

    [[nodiscard]] const std::vector<std::string>& number_names() const;
    /// Those of the number inputs that are dates: seconds since 1970 (UTC).
    [[nodiscard]] const std::vector<std::string>& date_names() const;
    [[nodiscard]] const std::vector<std::string>& category_names() const;
    /// Those of the number inputs that are times of a history: numbers as they are, dates as seconds since 1970 (UTC).
    [[nodiscard]] const std::vector<std::string>& time_names() const;
    [[nodiscard]] const std::string& target_name() const;
    /// Names of the target's classes; empty for a regression.
    [[nodiscard]] const std::vector<std::string>& target_categories() const;

    /// One row is a window of its own where the model is none of series.
    [[nodiscard]] const ModelWindows& windows() const;

    /// Returns [windows, outputs] row-major, with at least one output: rows are consecutive ones of a series, oldest
    /// first, and each that has windows().length - 1 before it ends a window.
    /// Errors: invalid_argument, when the shapes do not fit the model's inputs or rows are fewer than a window,
    /// or the archive's program fails or gives
    /// anything else. Throws std::bad_alloc.
    [[nodiscard]] Result<std::vector<double>> predict(const RawRows& raw) const;

private:
    struct State;
    explicit ExportedModel(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

} // namespace muster::worker
