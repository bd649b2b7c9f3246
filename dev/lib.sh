# dev/lib.sh: what the commands of dev/ share. Sourced, never run.
# shellcheck shell=bash

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '== %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

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

free_port() {
  perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1")->sockport'
}

# A folder of our own that goes away with us, however we end.
make_work() {
  work=$(mktemp -d /tmp/keypup.XXXXXX)
  chmod 755 "$work"
  trap clean_up EXIT
  trap 'exit 130' INT TERM
}

clean_up() {
  for process in ${emulator:-} ${pages:-}; do kill "$process" 2>/dev/null || true; done
  if [ -f "$work/data/postmaster.pid" ]; then as_server "$bin/pg_ctl" -D "$work/data" -m immediate stop >/dev/null 2>&1 || true; fi
  rm -rf "$work"
}

# The tests write: they run on a copy that the server's user owns, not in the checkout.
copy_and_build() {
  say "building"
  mkdir "$work/source"
  (cd "$top" && tar cf - --exclude=.git --exclude=node_modules --exclude='*.o' --exclude='*.so' .) | tar xf - -C "$work/source"
  for folder in dev/github test/sso examples/vega-lite; do
    if [ -d "$top/$folder/node_modules" ]; then cp -r "$top/$folder/node_modules" "$work/source/$folder/"; fi
  done
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
  as_server "$bin/pg_ctl" -D "$work/data" -l "$work/log" -w start >/dev/null || { cat "$work/log"; die "PostgreSQL did not start"; }
  export PGHOST=$work PGPORT=$port PGDATABASE=postgres
  PGUSER=$(server_user)
  export PGUSER
}

# prove, with PostgreSQL's modules; in the copy that copy_and_build made.
run_tap() {
  local pgxs
  pgxs=$(dirname "$("$bin/pg_config" --pgxs)")/../..
  as_server env PATH="$bin:$PATH" PG_REGRESS="$pgxs/src/test/regress/pg_regress" PGHOST= PGPORT="$(free_port)" \
    PERL5LIB="$pgxs/src/test/perl" prove "$@"
}
