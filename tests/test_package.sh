#!/usr/bin/env bash
# Makes the Debian package of the build and looks into it: its files, what it depends on, its scripts
# and units. tests/package/verify installs and uses it, which takes longer.
set -euo pipefail

source=$1 build=$2
skip() { printf 'SKIPPED: %s\n' "$*" >&2; exit 77; }
fail() { printf 'test_package: %s\n' "$*" >&2; exit 1; }
command -v dpkg-shlibdeps >/dev/null || skip "no dpkg-dev: packages cannot be made here"
place=$(mktemp -d)
trap 'rm -rf -- "$place"' EXIT

cpack --config "$build/CPackConfig.cmake" -G DEB -B "$place" >"$place/log" 2>&1 ||
    { cat "$place/log" >&2; fail "cpack failed"; }
deb=("$place"/*.deb)
[[ ${#deb[@]} == 1 && -f ${deb[0]} ]] || fail "cpack has made ${deb[*]}"
root=$place/root
dpkg-deb -R "${deb[0]}" "$root"

# ---- Files ----

version=$("$build/tools/tekup/tekup" --version)
version=${version#tekup }
libraries=$(dirname "$(cd "$root" && find usr/lib -name libtekup.so)")
cat >"$place/wanted" <<FILES
-rw-r--r-- etc/tekupdb/tekupd.conf
-rw------- etc/tekupdb/environment
-rwxr-xr-x usr/bin/tekup
-rwxr-xr-x usr/bin/tekupd
-rwxr-xr-x usr/libexec/tekupdb/tekup-pdftext
-rw-r--r-- usr/include/tekup/index.h
-rw-r--r-- $libraries/libtekup.a
lrwxrwxrwx $libraries/libtekup.so
lrwxrwxrwx $libraries/libtekup.so.${version%%.*}
-rw-r--r-- $libraries/libtekup.so.$version
-rw-r--r-- $libraries/pkgconfig/tekup.pc
-rw-r--r-- usr/lib/systemd/system/tekupd.service
-rw-r--r-- usr/lib/systemd/system/tekupd.socket
-rw-r--r-- usr/lib/systemd/system/tekupd-postgresql.socket
-rw-r--r-- usr/lib/sysusers.d/tekupdb.conf
-rw-r--r-- usr/lib/tmpfiles.d/tekupdb.conf
-rw-r--r-- usr/share/man/man1/tekup.1.gz
-rw-r--r-- usr/share/man/man5/tekupd.conf.5.gz
-rw-r--r-- usr/share/man/man8/tekupd.8.gz
-rw-r--r-- usr/share/bash-completion/completions/tekup
lrwxrwxrwx usr/share/bash-completion/completions/tekupd
-rw-r--r-- usr/share/zsh/vendor-completions/_tekup
-rw-r--r-- usr/share/doc/tekupdb/API.md
-rw-r--r-- usr/share/doc/tekupdb/changelog.Debian.gz
-rw-r--r-- usr/share/doc/tekupdb/copyright
-rw-r--r-- usr/share/doc/tekupdb/examples/tekupd.conf
-rw-r--r-- usr/share/lintian/overrides/tekupdb
-rw-r--r-- usr/share/tekupdb/grafana/tekupdb.json
-rw-r--r-- usr/share/tekupdb/prometheus/tekupdb.rules.yml
FILES
for guide in "$source"/tools/guides/*.md; do
    [[ ! -f $guide ]] || printf -- '-rw-r--r-- usr/share/doc/tekupdb/%s\n' "${guide##*/}" >>"$place/wanted"
done
dpkg-deb -c "${deb[0]}" | awk '!/^d/ { sub(/^\.\//, "", $6); print $1, $6 }' | sort >"$place/there"
diff <(sort "$place/wanted") "$place/there" || fail "the package has other files than it should (< should, > has)"
! dpkg-deb -c "${deb[0]}" | awk '$2 != "root/root"' | grep . || fail "not everything is root's"
for program in "$root"/usr/bin/*; do
    ! readelf -S "$program" | grep '\.debug_info' >/dev/null || fail "$program is not stripped"
done
diff "$root/etc/tekupdb/tekupd.conf" "$source/tools/tekupd/tekupd.conf"

# ---- What it says of itself ----

field() { dpkg-deb -f "${deb[0]}" "$1"; }
[[ $(field Package) == tekupdb && $(field Version) == "$version-1"* ]] || fail "it is $(field Package) $(field Version)"
for library in libc6 libpq5 libssl3 libcurl libarchive13 libevent libjansson4 libopenblas libroaring libinih; do
    [[ $(field Depends) == *"$library"* ]] || fail "it does not depend on $library: $(field Depends)"
done
[[ $(field Recommends) == *postgresql* ]] || fail "it does not recommend postgresql"
for script in preinst postinst prerm postrm; do
    sh -n "$root/DEBIAN/$script"
    [[ $(stat -c %a "$root/DEBIAN/$script") == 755 ]] || fail "$script cannot be run"
done
while read -r conffile; do
    [[ -f $root$conffile ]] || fail "the conffile $conffile is not in the package"
done <"$root/DEBIAN/conffiles"
if command -v lintian >/dev/null; then
    # Only a build with /usr as its prefix has Debian's directory of libraries.
    lintian --allow-root --fail-on error,warning --suppress-tags pkg-config-unavailable-for-cross-compilation \
        "${deb[0]}" || fail "lintian finds fault"
fi

# ---- Units, user, directories ----

grep -qx "ExecStart=/usr/bin/tekupd" "$root/usr/lib/systemd/system/tekupd.service"
if command -v systemd-analyze >/dev/null; then
    # A place of its own with what the units refer to, and nothing of this machine's.
    mkdir -p "$root/bin" "$root/etc/systemd/system"
    install -m 755 /bin/true "$root/bin/sh"
    for unit in network-online.target sockets.target multi-user.target basic.target sysinit.target shutdown.target \
        system.slice -.slice; do
        cp "/usr/lib/systemd/system/$unit" "$root/usr/lib/systemd/system/" 2>/dev/null || true
    done
    for unit in tekupd.service tekupd.socket tekupd-postgresql.socket; do
        said=$(systemd-analyze verify --man=no --root="$root" "$unit" 2>&1) || fail "$unit: $said"
        ! grep -F "$unit" <<<"$said" || fail "$unit: $said"
    done
    systemd-analyze security --offline=true --no-pager --threshold=20 --root="$root" tekupd.service >"$place/security" ||
        fail "$(tail -n 1 "$place/security")"
fi
if command -v systemd-sysusers >/dev/null; then
    systemd-sysusers --root="$root" tekupdb.conf >"$place/log" 2>&1 || fail "$(cat "$place/log")"
    grep -q '^tekupdb:.*:/var/lib/tekupdb:' "$root/etc/passwd" || fail "sysusers.d makes no user tekupdb"
fi
if command -v systemd-tmpfiles >/dev/null && ((EUID == 0)); then
    systemd-tmpfiles --root="$root" --create tekupdb.conf
    [[ $(stat -c %a "$root/run/tekupdb" "$root/var/lib/tekupdb" | xargs) == "755 700" ]] || fail "tmpfiles.d"
fi
