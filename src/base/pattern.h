/// Patterns for names in policies: `*` stands for any text.
#pragma once

#include <string_view>

namespace muster {

/// Says whether `text` matches `pattern`. Linear in practice: only the last star is ever tried again.
[[nodiscard]] bool matches(std::string_view pattern, std::string_view text);

} // namespace muster
