/// Overloaded: one function object from several lambdas, for std::visit.
#pragma once

namespace muster {

/// std::visit(Overloaded{[](int) {...}, [](const std::string&) {...}}, variant)
template <typename... Lambdas>
struct Overloaded : Lambdas... {
    using Lambdas::operator()...;
};
template <typename... Lambdas>
Overloaded(Lambdas...) -> Overloaded<Lambdas...>;

} // namespace muster
