#!/usr/bin/env bash
# The manual pages are well-formed, and they and the completions have every option and every setting
# that the programs have, and no other.
set -euo pipefail

source=$1 build=$2
place=$(mktemp -d)
trap 'rm -rf -- "$place"' EXIT
fail() { printf 'test_manual: %s\n' "$*" >&2; exit 1; }

tekup=$build/tools/tekup/tekup tekupd=$build/tools/tekupd/tekupd
tekup_1=$source/tools/tekup/tekup.1 tekupd_8=$source/tools/tekupd/tekupd.8
conf_5=$build/tools/tekupd/tekupd.conf.5
[[ -f $conf_5 ]] || fail "$conf_5 was not built"

if command -v mandoc >/dev/null; then
    for page in "$tekup_1" "$tekupd_8" "$conf_5"; do
        mandoc -Tlint -Wwarning "$page" || fail "${page##*/} is not well-formed"
    done
fi

# same WHAT PLACE HERE THERE: two lists, a word to a line, are the same.
same()
{
    diff <(sort -u <<<"$3") <(sort -u <<<"$4") >"$place/diff" ||
        fail "$2 and what $1 says differ (< only $2, > only $1): $(grep '^[<>]' "$place/diff" | xargs)"
}

# The long options that a text has, but for --help, which everything has.
options_of() { grep -oE '(^|[^-[:alnum:]])--[a-z][a-z-]*' | sed 's/^[^-]*//' | grep -vxF -e --help || true; }

# Those of a part of a manual page, where they stand as "Fl -name".
options_in() { grep -oE '^\.(It )?Fl .*|^\.It .*Fl .*' | tr ' ' '\n' | grep -E '^-[a-z][a-z-]*$' | sed 's/^/-/' |
    grep -vxF -e --help || true; }

# The part of tekup.1 about a command.
part()
{
    awk -v command="$1" '/^\.S[sh] / { inside = 0 } $0 ~ "^\\.Ss " command "( Ar| Op|$)" { inside = 1 } inside' "$tekup_1"
}

# Every command, those with a second word with it.
commands=()
while read -r command; do
    seconds=$("$tekup" "$command" --help | sed -n '/^Commands:/,/^$/ s/^  \([a-z]*\) .*/\1/p')
    if [[ -n $seconds ]]; then
        for second in $seconds; do commands+=("$command $second"); done
    else
        commands+=("$command")
    fi
done < <("$tekup" --help | sed -n '/^Commands:/,/^$/ s/^  \([a-z]*\) .*/\1/p')
((${#commands[@]} > 10)) || fail "tekup --help names ${#commands[@]} commands only"

bash_completion=$source/tools/tekup/tekup.bash-completion
zsh_completion=$source/tools/tekup/tekup.zsh-completion
bash -n "$bash_completion"
! command -v zsh >/dev/null || zsh -n "$zsh_completion"
for command in "${commands[@]}"; do
    read -ra words <<<"$command"
    [[ -n $(part "$command") ]] || fail "tekup.1 has no part '$command'"
    options=$("$tekup" "${words[@]}" --help | options_of)
    same "tekup $command --help" "tekup.1" "$(part "$command" | options_in)" "$options"
    for option in $options; do
        for completion in "$bash_completion" "$zsh_completion"; do
            grep -qE -- "(^|[^-[:alnum:]])$option([^-[:alnum:]]|$)" "$completion" ||
                fail "${completion##*/} has no $option of tekup $command"
        done
    done
    for completion in "$bash_completion" "$zsh_completion"; do
        grep -qwF -- "${words[-1]}" "$completion" || fail "${completion##*/} has no $command"
    done
done
same "tekup.1" "tekup --help" "$(printf '%s\n' "${commands[@]}" help)" \
    "$(sed -n '/^\.Sh DESCRIPTION/,/^\.Sh ENV/ s/^\.Ss //p' "$tekup_1" | sed 's/ \(Ar\|Op\) .*//')"

same "tekupd --help" "tekupd.8" "$(sed -n '/^The options are/,/^\.Ss/p' "$tekupd_8" | grep '^\.It' | tr ' ' '\n' |
    sed -n 's/^-[a-z-]*[a-z]$/-&/p' | grep -vxF -e --help)" "$("$tekupd" --help | sed -n 's/^  .*\(--[a-z-]*\).*/\1/p' | grep -vxF -e --help)"

for option in $("$tekupd" --help | options_of) --help; do
    for completion in "$bash_completion" "$zsh_completion"; do
        sed -n '/tekupd/,$p' "$completion" | grep -E -- "(^|[^-[:alnum:]])$option([^-[:alnum:]]|$)" >/dev/null ||
            fail "${completion##*/} has no $option of tekupd"
    done
done

# Settings: the daemon's own table, the file that it comes with, the page that is made of that.
settings=$(sed -nE 's/^ *[A-Z_]+_SETTING\("([a-z]+)", "([a-z_]+)".*/\1.\2/p' "$source/tools/tekupd/config.c")
(($(wc -l <<<"$settings") > 30)) || fail "config.c has no settings that could be read"
same config.c tekupd.conf.5 "$(awk '/^\.Ss \[/ { gsub(/[][]/, "", $2); section = $2 }
    /^\.It Cm / { print section "." $3 }' "$conf_5")" "$settings"
