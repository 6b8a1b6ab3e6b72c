#!/bin/sh
# The user that the server runs as, and the one directory that it writes to.
#   DESTDIR            a prefix for all paths (default: none)
#   SOURCE_DATE_EPOCH  the time of what it writes, in seconds since 1970 (default 0)
set -eu
DESTDIR="${DESTDIR:-}"
mkdir -p "$DESTDIR/etc" "$DESTDIR/tmp"
# Lines, not useradd: slim images may lack it, and some libraries ask for the user's name by its number.
grep -q '^model-server:' "$DESTDIR/etc/group" 2>/dev/null || echo 'model-server:x:1000:' >> "$DESTDIR/etc/group"
grep -q '^model-server:' "$DESTDIR/etc/passwd" 2>/dev/null || \
    echo 'model-server:x:1000:1000::/tmp:/usr/sbin/nologin' >> "$DESTDIR/etc/passwd"
chmod 1777 "$DESTDIR/tmp"
touch --date="@${SOURCE_DATE_EPOCH:-0}" "$DESTDIR/etc/group" "$DESTDIR/etc/passwd" "$DESTDIR/etc" "$DESTDIR/tmp"
