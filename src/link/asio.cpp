/// The one place where Asio's and Beast's own functions are compiled; everybody else only declares them.
// clang-format off: Boost 1.74 uses std::exchange without including <utility>
#include <boost/asio/impl/src.hpp>
#include <boost/asio/ssl/impl/src.hpp>
#include <boost/beast/src.hpp>

#include <utility>
