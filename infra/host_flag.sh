# Writes a flag file on this host; see docs/operations.md, Hosts.
# POSIX sh with coreutils. The document that holds this script sets, before the first line:
#   file        base64 of the absolute path; never evaluated
# It replaces an empty file or one that says OK, and nothing else: whoever may send this command can't destroy a file.
# A status other than 0 says why nothing was written: 3 no such directory, 4 something else is there, 5 a program is
# missing, 8 it could not be written.
set -u
umask 022
export LC_ALL=C.UTF-8
PATH="${PATH:-}:/usr/bin:/bin"

fail() {
  printf '%s\n' "$2" >&2
  exit "$1"
}

for program in base64 readlink mktemp mv wc cat; do
  command -v "$program" >/dev/null || fail 5 "$program is not installed"
done
path=$(printf '%s' "$file" | base64 -d && printf x) || fail 4 'the path can not be read'
path=${path%x}  # the x kept newlines at the end
target=$(readlink -f -- "$path" && printf x) || fail 3 "the directory of $path does not exist"
target=${target%?x}  # the file itself, where a symbolic link points at it
place=${target%/*}/
[ -d "$place" ] || fail 3 "the directory of $path does not exist"
if [ -e "$target" ]; then
  [ -f "$target" ] || fail 4 "$path is no file"
  [ "$(wc -c <"$target")" -le 3 ] || fail 4 "$path is no flag file: it holds more than the word OK"
  case $(cat -- "$target") in '' | OK) ;; *) fail 4 "$path is no flag file: it holds something else" ;; esac
fi
fresh=$(mktemp "$place.backups-flag.XXXXXXXX") || fail 8 "$place is not writable"
trap 'rm -f -- "$fresh"' EXIT
printf OK >"$fresh" && chmod 644 "$fresh" && mv -f -- "$fresh" "$target" || fail 8 "$path could not be written"
trap - EXIT
