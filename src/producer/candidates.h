/// Which functions are asked for a job, and what the planner is asked about them.
#pragma once

#include "planner/planner.h"
#include "producer/desk.h"

#include <map>
#include <set>
#include <string>
#include <vector>

namespace muster::producer {

/// The functions that may be asked now, and why the others may not.
struct Choice {
    std::vector<std::string> candidates{}; ///< best first
    std::set<std::string> without_data{};  ///< of them: those that do not hold it
    bool for_stages{};                     ///< they are asked for a stage that others bring the rows to
    std::map<std::string, std::vector<std::string>>
        rows_from{};                              ///< of them: DNs of candidates that may ship it the rows
    std::map<std::string, std::string> reasons{}; ///< DN -> why it is not among them
    DataLayout layout{DataLayout::whole};
    std::vector<std::string> missing{}; ///< pinned rows: DNs that have some and are no candidates
    std::string refusal{};              ///< why no function can ever do it; empty: that is not known
    bool later{};                       ///< some function may qualify soon without anything changing
};

/// Chooses among the connected, free functions that hold the data and allow the inference name. Functions with other
/// data than most (by content digest) are left out: in layout "whole" every member reads the same rows. Where the
/// recipe's model may be split, functions without the data are asked too, after those: stages but the first read none;
/// and where a holder's catalogue lets the rows leave for them and the consumer, they may be shipped there. Where the
/// recipe says that rows are pinned, or contents differ and all catalogues that have the source say so, all who have
/// rows are asked, and nobody else.
[[nodiscard]] Choice choose(const Desk& desk, const LiveJob& job);

/// The data that a recipe names: the training source, and the test source where there is one.
[[nodiscard]] std::vector<std::string> sources_of(const nlohmann::json& recipe);

/// Names of suggestedTrainingNodeList that stand for no function (a ManagedElement or SubNetwork stands for those
/// below it).
[[nodiscard]] std::vector<std::string> unknown_suggestions(const Fleet& fleet, const Wish& wish);

/// "waiting" text for people: every function with its reason, or that none is known.
[[nodiscard]] std::string reasons_text(const Choice& choice);

/// Rows of a step over all functions, of boosted trees all training rows; and steps of the whole training: epochs times
/// global batches of an epoch, the last one partial, or trees.
struct StepShape {
    std::int64_t batch{};
    std::int64_t steps{};
};
[[nodiscard]] StepShape steps_of(const Recipe& recipe, std::int64_t training_rows);
/// Data and model that a function has prepared.
[[nodiscard]] DataShape shape_of(const Prepared& prepared);
/// Adds what another site with pinned rows has prepared.
void add_rows(DataShape& all, const DataShape& site);
/// Puts what the recipe asks for into the question, and the work that it is on data of this shape. Of pinned rows
/// (question.layout) there is no linear baseline.
void ask_as_recipe(const Recipe& recipe, const DataShape& shape, planner::Question& question);
/// The three batch sizes to time: an eighth, a quarter and a half of the global batch, at least 1, 2 and 4.
[[nodiscard]] std::vector<std::int64_t> batches_to_time(std::int64_t batch);

} // namespace muster::producer
