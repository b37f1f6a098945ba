/// Where rows are during training (ARCHITECTURE.md, data layouts).
#pragma once

namespace muster {

/// Whole: every member reads all rows. Pinned: each member reads the rows that it owns, and they stay with it.
enum class DataLayout { whole, pinned };

/// Returns "whole" or "pinned", as agreements have it.
[[nodiscard]] constexpr const char* name_of(DataLayout layout) {
    return layout == DataLayout::pinned ? "pinned" : "whole";
}

} // namespace muster
