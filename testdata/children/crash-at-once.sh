#!/bin/sh
# Ends with code 3 before it has done anything.
echo "crash-at-once $$"
echo "no database" >&2
exit 3
