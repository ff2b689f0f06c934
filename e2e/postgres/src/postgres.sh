#!/bin/sh
# Starts a throw-away Postgres in the folder $1 with the programs in $2, says `ready` once it answers on the
# Unix socket in that folder, and stops it and removes the folder when standard input closes: that is when
# the process that started this ends, however it ends. Further arguments are settings of the server, NAME=VALUE.
set -eu
folder=$1
programs=$2
shift 2
settings=
for setting in "$@"; do settings="$settings -c $setting"; done

# The terminal's Ctrl-C must not stop the clean-up.
trap '' HUP INT TERM

# Postgres refuses to run as root.
as_postgres() {
    if [ "$(id -u)" = 0 ]; then
        setpriv --reuid=postgres --regid=postgres --clear-groups -- "$@"
    else
        "$@"
    fi
}

clean_up() {
    as_postgres "$programs/pg_ctl" --pgdata "$folder/data" --mode immediate --wait stop >/dev/null 2>&1 || true
    rm -rf "$folder"
}
trap clean_up EXIT

if [ "$(id -u)" = 0 ]; then
    chown -R postgres "$folder"
fi
as_postgres "$programs/initdb" --pgdata "$folder/data" --username postgres --auth trust --encoding UTF8 \
    --locale C --no-sync >"$folder/initdb.log" 2>&1 || { cat "$folder/initdb.log" >&2; exit 1; }
echo "-c listen_addresses='' -c unix_socket_directories='$folder' -c fsync=off -c max_connections=200$settings" >"$folder/options"
as_postgres "$programs/pg_ctl" --pgdata "$folder/data" --log "$folder/server.log" --wait --timeout 60 --options \
    "$(cat "$folder/options")" start >/dev/null || { cat "$folder/server.log" >&2; exit 1; }
echo ready
cat >/dev/null
