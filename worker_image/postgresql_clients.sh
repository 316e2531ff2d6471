#!/bin/sh
# Installs PostgreSQL's clients of the major versions given, side by side: pg_dump reads no server newer than itself.
# Debian has one version; the others come from the PostgreSQL project's own repository, which Debian's package
# postgresql-common knows how to enable. Without arguments: Debian's version alone, and that repository is not asked.
set -eu

if [ $# -eq 0 ]; then
    exec apt-get install -y --no-install-recommends postgresql-client
fi

# The variables are for tests.
enable=${PGDG_SCRIPT:-/usr/share/postgresql-common/pgdg/apt.postgresql.org.sh}
sources=${APT_SOURCES:-/etc/apt/sources.list.d}
apt-get install -y --no-install-recommends ca-certificates postgresql-common
"$enable" -y
apt-get update

newest=0 packages=''
for version in "$@"; do
    [ "$version" -le "$newest" ] || newest=$version
    if apt-cache show "postgresql-client-$version" >/dev/null 2>&1; then
        packages="$packages postgresql-client-$version"
    else
        # The project drops versions some time after their end; the next newer client reads their servers.
        echo "postgresql_clients: there is no postgresql-client-$version any more" >&2
    fi
done
case "$packages " in
    *" postgresql-client-$newest "*) ;;
    *)
        echo "postgresql_clients: no postgresql-client-$newest: is the PostgreSQL project's repository within reach?" >&2
        echo "Build with an empty build argument POSTGRESQL_CLIENTS to have Debian's version alone." >&2
        exit 1
        ;;
esac
# shellcheck disable=SC2086 # one word for each package
apt-get install -y --no-install-recommends $packages
apt-get purge -y --auto-remove postgresql-common
rm -f "$sources/pgdg.list" "$sources/pgdg.sources"
