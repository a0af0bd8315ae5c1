#!/usr/bin/env bash
# Installs the build into a directory of its own and uses it from there: the programs, the manual's
# files, and libtekup by the example in README.md.
set -euo pipefail

source=$1 build=$2
place=$(mktemp -d)
trap 'rm -rf -- "$place"' EXIT
fail() { printf 'test_install: %s\n' "$*" >&2; exit 1; }

DESTDIR=$place cmake --install "$build" >"$place/install.log" || { cat "$place/install.log"; exit 1; }
prefix=$place$(sed -n 's/^CMAKE_INSTALL_PREFIX:PATH=//p' "$build/CMakeCache.txt")

version=$("$prefix/bin/tekup" --version)
[[ $version == "tekup "[0-9]* ]] || fail "tekup --version says '$version'"
daemon_version=$("$prefix/bin/tekupd" --version)
[[ ${daemon_version#tekupd } == "${version#tekup }" ]] || fail "tekupd says '$daemon_version'"
[[ -f $prefix/share/bash-completion/completions/tekup ]] || fail "no bash completion"
bash -n "$prefix/share/bash-completion/completions/tekup"

if [[ -x $build/bench/tekup-bench ]]; then
    [[ $("$prefix/bin/tekup" bench --version) == "tekup-bench ${version#tekup }" ]] ||
        fail "tekup bench does not find tekup-bench"
fi

[[ -x $prefix/libexec/tekupdb/tekup-pdftext ]] || fail "no tekup-pdftext"

pc=$(find "$prefix" -name tekup.pc)
[[ -n $pc ]] || fail "no tekup.pc"
export PKG_CONFIG_PATH=${pc%/*} PKG_CONFIG_SYSROOT_DIR=$place
[[ "tekup $(pkg-config --modversion tekup)" == "$version" ]] || fail "tekup.pc has another version"

# The example in README.md: its C, its command, and what it says the program prints.
awk '/^```c$/ { inside = 1; next } /^```$/ { inside = 0 } inside' "$source/README.md" >"$place/nearest.c"
[[ -s $place/nearest.c ]] || fail "README.md has no example in C"
read -ra flags < <(pkg-config --cflags --libs tekup)
"${CC:-cc}" -Wall -Wextra -Werror "$place/nearest.c" -o "$place/nearest" "${flags[@]}"
LD_LIBRARY_PATH=$(dirname "${pc%/*}") "$place/nearest" >"$place/printed"
awk '/^\$ \.\/nearest$/ { inside = 1; next } /^```$/ { inside = 0 } inside' "$source/README.md" >"$place/promised"
[[ -s $place/promised ]] || fail "README.md does not say what its example prints"
diff "$place/promised" "$place/printed" || fail "the example prints something else than README.md says"
