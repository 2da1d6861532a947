#!/bin/sh
# Publishes notifications, which every signalrd hands to its clients:
#
#   sh worker.sh [--user NAME] [--count N] MESSAGE
#
# Without --user everybody gets them. --count publishes N, numbered from 1.
# REDIS_URL says where Redis is, by default redis://127.0.0.1:6379. It needs
# redis-cli, 6 or later, and a shell. It cannot sign what it publishes
# (docs/notifications.md).
#
# redis-cli is given the URL on its command line, where whoever can list this
# machine's processes can read a password in it.
set -eu

usage() {
	echo "usage: sh worker.sh [--user NAME] [--count N] MESSAGE" >&2
	exit 2
}

user='' count=1 message=''
while [ $# -gt 0 ]; do
	case $1 in
	--user=* | --count=*) # as two arguments
		argument=$1
		shift
		set -- "${argument%%=*}" "${argument#*=}" "$@"
		;;
	--user) [ $# -ge 2 ] || usage; user=$2; shift 2 ;;
	--count) [ $# -ge 2 ] || usage; count=$2; shift 2 ;;
	-*) usage ;;
	*) [ -z "$message" ] || usage; message=$1; shift ;;
	esac
done
[ -n "$message" ] || usage
case $count in '' | *[!0-9]* | 0*) usage ;; esac
if [ -n "${NOTIFY_KEYS_FILE:-}" ]; then
	echo "not published: NOTIFY_KEYS_FILE is set, and redis-cli cannot sign; another worker can, or unset it" >&2
	exit 1
fi

# A text as it stands between the quotes of a JSON string. Apostrophes are
# escaped, too: redis-cli reads them as the end of an argument.
json() {
	printf '%s\n' "$1" | LC_ALL=C awk '
		BEGIN {
			for (i = 1; i < 32; i++) escaped[sprintf("%c", i)] = sprintf("\\u%04x", i)
			escaped["\""] = "\\\""
			escaped["\\"] = "\\\\"
			escaped["\047"] = "\\u0027"
		}
		NR > 1 { printf "\\n" }
		{
			for (i = 1; i <= length($0); i++) {
				c = substr($0, i, 1)
				printf "%s", c in escaped ? escaped[c] : c
			}
		}'
}

# The commands, one a line.
publish() {
	to='' text=$(json "$message")
	[ -z "$user" ] || to="\"user\":\"$(json "$user")\","
	i=1
	while [ "$i" -le "$count" ]; do
		[ "$count" -eq 1 ] || number=" $i"
		printf "PUBLISH notify.users '{%s\"message\":\"%s%s\"}'\n" "$to" "$text" "${number:-}"
		i=$((i + 1))
	done
}

# Each is answered with how many servers heard it, or with what is wrong.
if ! answers=$(publish | redis-cli -u "${REDIS_URL:-redis://127.0.0.1:6379}" --no-auth-warning 2>&1) ||
	error=$(printf '%s\n' "$answers" | grep -m 1 -v '^[0-9][0-9]*$'); then
	echo "not published: ${error:-$answers}" >&2
	exit 1
fi
servers=$(printf '%s\n' "$answers" | sort -n | tail -n 1)
[ "$servers" -eq 1 ] || s=s
echo "published $count, heard by $servers server${s:-}"
