# Archives a folder of this host into the staging area of backups, part by part; see docs/operations.md, Hosts.
# POSIX sh with GNU tar, curl and coreutils. The document that holds this script sets, before the first line:
#   lease_url   where this host reads which parts it may upload, and where to; the answer names itself anew
#   folder      base64 of the absolute path; never evaluated
#   rename      base64 of tar's expression that puts the folder's own name into the archive
#   anywhere    base64 words, one for each exclude
#   below       the same, for excludes that match at the top of the folder only
#   one_file_system  true or false
#   part_bytes, beat, silence  bytes of a part; seconds between looks at the lease, and without news until giving up
#   uploads     at once; each part waits on this host's disk until it is sent
#   tries       of each part, with longer and longer pauses: seven take one and a half minutes
# A status other than 0 says why nothing whole was stored: 3 no such path, 4 neither folder nor file, 5 a program is
# missing, 6 the staging area was not reached, 7 whoever asked is gone, 8 no room, 143 stopped.
set -u
umask 077
export LC_ALL=C.UTF-8
PATH="${PATH:-}:/usr/local/bin:/usr/bin:/bin"
work='' tar='' keeper='' listener=''

fail() {
  printf '%s\n' "$2" >&2
  exit "$1"
}

finish() {
  trap - EXIT
  if [ -n "$work" ]; then
    : >"$work/stop"
    for process in $keeper $tar $listener; do kill "$process" 2>/dev/null; done
    exec 3<&-
    wait
    # What the keeper was doing may go on for a moment, and write a file into a directory that is being removed.
    mv "$work" "$work.over" && rm -rf "$work.over"
  fi
}

decoded() { printf '%s' "$1" | base64 -d && printf x; }  # the x keeps newlines at the end; whoever reads it cuts it

request() {  # the address is on stdin: it must not show in the list of processes
  curl --config - --silent --show-error --fail --connect-timeout 20 --speed-limit 1 --speed-time 60 "$@" \
    2>"$work/curl.${part:-0}" >/dev/null
}

address() { sed -n "s/^$1 //p" "$work/lease"; }

renew() {
  fresh=$(mktemp "$work/lease.XXXXXX") || return 1
  if printf 'url = "%s"\n' "$(address lease)" | request --output "$fresh" && grep -q '^beat ' "$fresh"; then
    mv "$fresh" "$work/lease"
  else
    rm -f "$fresh"
    return 1
  fi
}

heard() {
  [ ! -e "$work/silent" ] || fail 7 "whoever asked for the folder has said nothing for $silence seconds"
}

granted() {  # wait until a part may be uploaded: so the staging area stays small
  pause=0.2
  until [ -n "$(address "$1")" ] || { renew && [ -n "$(address "$1")" ]; }; do
    heard
    sleep "$pause"
    pause=1  # each look costs a few processes, and what waits to be read lasts for longer
  done
}

upload() {  # servers that look for text to compress leave what has a type alone
  part=$1
  try=1
  until printf 'url = "%s"\n' "$(address "$part")" |
    request --header Expect: --header 'Content-Type: application/x-tar' --upload-file "$work/part.$part"; do
    [ "$try" -lt "$tries" ] && [ ! -e "$work/stop" ] || return 1
    sleep "$((try * try))"
    try=$((try + 1))
    renew
    [ -n "$(address "$part")" ] || break  # it arrived, although the answer did not: it was read already
  done
  rm -f "$work/part.$part"
}

uploaded() {
  wait "$1" || fail 6 "a part could not be sent to the staging area: $(cat "$work"/curl.* | tail -n 1)"
}

keep() {  # addresses are short-lived: keep them fresh, also while tar is slow, and notice when nobody renews them
  quiet=0 seen=''
  while sleep "$beat"; do
    renew
    now=$(address beat)
    quiet=$((quiet + beat))
    [ "$now" = "$seen" ] || quiet=0
    seen=$now
    if [ "$quiet" -ge "$silence" ]; then
      : >"$work/silent"
      kill "$tar"
      return
    fi
  done
}

remove_stale() {  # what a run left that was killed
  for old in "$1"/backups-folder.*; do
    if [ -d "$old" ] && [ ! -L "$old" ] && [ -O "$old" ] && [ -f "$old/pid" ]; then
      kill -0 "$(cat "$old/pid")" 2>/dev/null || rm -rf "$old"
    fi
  done
}

for program in tar curl base64 dd cksum mktemp mkfifo sed grep tail; do
  command -v "$program" >/dev/null || fail 5 "$program is not installed"
done
path=$(decoded "$folder") && path=${path%x}
rename=$(decoded "$rename") && rename=${rename%x}
if [ -d "$path" ]; then
  set --
  for word in $anywhere; do
    pattern=$(decoded "$word") && set -- "$@" "--exclude=${pattern%x}"
  done
  set -- "$@" --anchored
  for word in $below; do
    pattern=$(decoded "$word") && set -- "$@" "--exclude=${pattern%x}"
  done
  [ "$one_file_system" = false ] || set -- "$@" --one-file-system
  set -- "$@" "--directory=$path" "--transform=$rename" -- .
elif [ -f "$path" ]; then
  set -- --dereference "--directory=${path%/*}/" '--transform=s,^\./,,S' -- "./${path##*/}"
elif [ -e "$path" ]; then
  fail 4 "$path is neither a folder nor a file"
else
  fail 3 "$path does not exist"
fi

place=${TMPDIR:-/var/tmp}
remove_stale "$place"
work=$(mktemp -d "$place/backups-folder.XXXXXXXX") || fail 8 "no directory can be made in $place"
trap finish EXIT
trap 'exit 143' HUP INT TERM
echo "$$" >"$work/pid"
printf 'lease %s\n' "$lease_url" >"$work/lease"
try=1
until renew; do
  [ "$try" -lt "$tries" ] || fail 6 "the staging area can't be read: $(cat "$work/curl.0")"
  sleep "$try"
  try=$((try + 1))
done

mkfifo "$work/data" "$work/complaints"
tail -n 25 <"$work/complaints" >"$work/said" &
listener=$!
tar --create --file=- {{FORMAT}} --totals "$@" >"$work/data" 2>"$work/complaints" &
tar=$!
exec 3<"$work/data"
keep 3<&- &
keeper=$!

parts=0 bytes=0
: >"$work/sums"
set --
while granted "$((parts + 1))"; do
  next="$work/part.$((parts + 1))"
  # In pieces as large as a pipe holds: head would take an eighth of that, and twice the time.
  dd bs=64K iflag=fullblock,count_bytes count="$part_bytes" status=none <&3 >"$next" ||
    fail 8 "no room in $place for $part_bytes bytes"
  [ -s "$next" ] || break
  parts=$((parts + 1))
  sum=$(cksum <"$next")
  echo "$sum" >>"$work/sums"
  bytes=$((bytes + ${sum#* }))
  upload "$parts" 3<&- &
  set -- "$@" "$!"
  if [ "$#" -ge "$uploads" ]; then
    uploaded "$1"
    shift
  fi
done
heard
for process in "$@"; do uploaded "$process"; done
wait "$tar"
status=$?
tar=''
wait "$listener"
listener=''
{
  printf 'tar %s\nparts %s\nbytes %s\n' "$status" "$parts" "$bytes"
  cat "$work/sums" "$work/said"
} >"$work/part.end" || fail 8 "no room in $place"
granted end
upload end &
uploaded "$!"
