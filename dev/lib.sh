# dev/lib.sh: what the commands of dev/ share. Sourced, never run.
# shellcheck shell=bash

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Where dev/setup puts Node.
case $(uname -m) in x86_64) node_folder=dev/node/x64 ;; aarch64) node_folder=dev/node/arm64 ;; *) node_folder=dev/node/none ;; esac
# What dev/setup writes, and dev/clean reads.
installed_packages=$top/dev/.installed-packages
createcluster_file=/etc/postgresql-common/createcluster.d/keypup.conf

say() { printf '== %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# The usage of a command is the comment that it begins with.
usage() { sed -n '2,$ { /^#/! q; s/^# \{0,1\}//; p }' "$0"; }
for argument in "$@"; do
  case $argument in -h | --help) usage; exit 0 ;; esac
done

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# PostgreSQL refuses to run as root: then its own user runs the server and the tests.
server_user() {
  if [ "$(id -u)" -eq 0 ]; then echo postgres; else id -un; fi
}

as_server() {
  if [ "$(id -u)" -eq 0 ]; then runuser -u postgres -- env HOME="$work" "$@"; else "$@"; fi
}

# Where the programs of the newest server stand that is installed.
newest_server() {
  find /usr/lib/postgresql -maxdepth 2 -name bin | sort -V | tail -n 1
}

free_port() {
  perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1")->sockport'
}

# A folder of our own, temporary files of all that we start included, that goes away with us, however we end.
make_work() {
  work=$(mktemp -d "${KEYPUP_TMP:-/tmp}/keypup.XXXXXX")
  chmod 755 "$work"
  mkdir -m 1777 "$work/tmp"
  export KEYPUP_TMP=$work/tmp TMPDIR=$work/tmp
  trap clean_up EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 141' PIPE
  trap 'exit 143' TERM
}

clean_up() {
  trap '' HUP INT PIPE TERM
  disown -a    # else bash says of each what killed it
  "$top/dev/end_processes" "$work" "$$"
  rm -rf --one-file-system "$work"
}

# Bash answers a signal when its command has ended, which may take minutes; it waits for one in the background
# without that delay, and clean_up ends it.
at_any_moment() {
  "$@" &
  wait "$!"
}

# The tests write: they run on a copy that the server's user owns, not in the checkout. Node, too, is a copy, and
# the first that is found: what runs here runs on the version that dev/node names, not on the machine's.
copy_and_build() {
  say "building"
  mkdir "$work/source"
  (cd "$top" && tar cf - --exclude=.git --exclude=node_modules --exclude='*.o' --exclude='*.so' .) | tar xf - -C "$work/source"
  for folder in dev/github test/sso test/grafana examples/vega-lite examples/postgraphile; do
    if as_server test -r "$top/$folder/node_modules/.package-lock.json"; then
      ln -s "$top/$folder/node_modules" "$work/source/$folder/"
    elif [ -d "$top/$folder/node_modules" ]; then
      cp -r "$top/$folder/node_modules" "$work/source/$folder/"
    fi
  done
  if [ -e "$top/$node_folder/node_modules/.bin/node" ]; then
    mkdir "$work/node"
    cp -L --reflink=auto "$top/$node_folder/node_modules/.bin/node" "$work/node/node"
    PATH=$work/node:$PATH
  fi
  if [ -d "$top/../shared" ]; then ln -s "$(cd "$top/../shared" && pwd)" "$work/shared"; fi
  if [ "$(id -u)" -eq 0 ]; then chown -R postgres "$work"; fi
  as_server make -s -C "$work/source" -j2 COPT=-Werror PG_CONFIG="$bin/pg_config"
  as_root make -s -C "$work/source" install PG_CONFIG="$bin/pg_config" >/dev/null
}

start_cluster() {
  port=$(free_port)
  say "starting a throwaway PostgreSQL on port $port"
  as_server "$bin/initdb" -D "$work/data" -A trust --encoding=UTF8 --locale=C.UTF-8 >/dev/null
  as_server openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost \
    -keyout "$work/data/server.key" -out "$work/data/server.crt" 2>/dev/null
  as_server sh -c "umask 077; echo \"1 \$(openssl rand -hex 32)\" > '$work/keys'"
  as_server tee -a "$work/data/postgresql.conf" >/dev/null <<CONF
shared_preload_libraries = 'keypup'
listen_addresses = '127.0.0.1'
port = $port
unix_socket_directories = '$work'
ssl = on
keypup.key_file = '$work/keys'
keypup.ca_file = '${ca_file:-}'
keypup.private_hosts = '${private_hosts:-}'
CONF
  as_server "$bin/pg_ctl" -D "$work/data" -l "$work/log" -w -t 900 start >/dev/null || { cat "$work/log"; die "PostgreSQL did not start"; }
  export PGHOST=$work PGPORT=$port PGDATABASE=postgres
  PGUSER=$(server_user)
  export PGUSER
}

# A command that finds PostgreSQL's test modules and the pinned Node; in the copy that copy_and_build made.
with_test_modules() {
  local pgxs
  [ -x "$work/node/node" ] || die "the tests' Node is missing: run dev/setup lint"
  pgxs=$(dirname "$("$bin/pg_config" --pgxs)")/../..
  as_server env PATH="$bin:$PATH" PG_REGRESS="$pgxs/src/test/regress/pg_regress" PGHOST= PGPORT="$(free_port)" \
    PERL5LIB="$pgxs/src/test/perl" "$@"
}

run_tap() { with_test_modules prove "$@"; }

# What these commands keep on the machine for the next time.
say_what_stays() {
  say "what stays on this machine (dev/clean takes it back)"
  "$top/dev/clean" --list
}
