#!/bin/bash
# The root of the image, made of the programs of this tree, run as the image is: tests/image/restricted.sh. make image does
# the same with the built image.
cd "$(dirname "$0")/../.." || exit 1
[[ $(id -u) == 0 ]] || exec sudo -n --preserve-env "$0" # a container without an engine needs root
exec scripts/image short
