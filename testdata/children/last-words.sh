#!/bin/sh
# Dies right after it has printed: the last line, which has no line end, must not be lost.
echo "first $$"
echo "to stderr" >&2
printf 'last without a line end'
exit 1
