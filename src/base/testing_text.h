/// What tests ask of texts. Tests only.
#pragma once

#include <gtest/gtest.h>

#include <string>

namespace muster {

/// Says whether `text` has `part`, and what it has instead.
inline testing::AssertionResult has(const std::string& text, const std::string& part) {
    return text.find(part) == std::string::npos
               ? testing::AssertionFailure() << '"' << text << "\" lacks \"" << part << '"'
               : testing::AssertionSuccess();
}

} // namespace muster
