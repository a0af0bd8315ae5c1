# manual.awk: tekupd.conf(5), in mdoc: tekupd.conf.5.in, and in the place of its line @SETTINGS@ what
# tekupd.conf says, which so describes every setting once for both.
#
#     awk -f manual.awk tekupd.conf.5.in tekupd.conf
#
# A block of comments ends with the settings that it is about; one without is
# about the section, or goes on with what stands above it. What is indented further is shown as it is.

function text(line)
{
    gsub(/\\/, "\\e", line)
    if (line ~ /^[.']/) line = "\\\\&" line
    return line
}

# A sentence begins a new line, so that it is set with the right space before it.
function sentences(paragraph,    at)
{
    while (match(paragraph, /[.:;]\)? [A-Z]/)) {
        at = RSTART + RLENGTH - 2
        print text(substr(paragraph, 1, at - 1))
        paragraph = substr(paragraph, at + 1)
    }
    if (paragraph != "") print text(paragraph)
}

function say(    i, paragraph)
{
    paragraph = ""
    for (i = 1; i <= lines; i++) {
        if (line[i] ~ /^  /) {
            sentences(paragraph)
            paragraph = ""
            print ".Dl " text(substr(line[i], 3))
        } else
            paragraph = paragraph (paragraph == "" ? "" : " ") line[i]
    }
    sentences(paragraph)
}

function end_list()
{
    if (in_list) print ".El"
    in_list = 0
}

function end_block(    i)
{
    if (settings > 0) {
        if (!in_list) print ".Bl -tag -width Ds"
        in_list = 1
        for (i = 1; i <= settings; i++) print ".It " setting[i]
        say()
    } else if (lines > 0) {
        print ".Pp"
        say()
    }
    lines = settings = 0
}

FILENAME == ARGV[1] {
    if ($0 == "@SETTINGS@") behind = 1
    else if (behind) tail[++tails] = $0
    else print
    next
}
/^\[.*\]$/ {
    end_block()
    end_list()
    section = $0
    print ".Ss " section
    next
}
section == "" { next }
/^# [a-z_]+ =( |$)/ {
    name = $2
    value = $0
    sub(/^# [a-z_]+ = ?/, "", value)
    sub(/  +#.*$/, "", value)
    setting[++settings] = "Cm " name " No =" (value == "" ? "" : " Li \"\\&" value "\"")
    next
}
/^#/ {
    if (settings > 0) end_block()
    sub(/^# ?/, "")
    line[++lines] = $0
    next
}
/^$/ { end_block() }
END {
    end_block()
    end_list()
    for (i = 1; i <= tails; i++) print tail[i]
}
