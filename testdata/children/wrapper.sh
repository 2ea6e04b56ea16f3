#!/bin/sh
# What many start scripts do: the real program is a child of the shell, and the shell does not pass signals on.
# usage: wrapper.sh COMMAND [ARG...]
"$@" &
echo "wrapped $!"
wait
