#!/bin/sh
# Rendered by `voxray render ray-ec2`. Set before: RAY_AUTH_TOKEN_PATH (file with the cluster's token) and,
# on workers, RAY_HEAD_ADDRESS. The secrets that the tree names must be in the environment too.
set -eu
set -a
. /etc/voxray/ray.env
set +a
export VOXRAY_CONFIG=/etc/voxray/voxray.yaml VOXRAY_MODELS=/var/lib/voxray/models
voxray models fetch bge-large-en-v1.5 llama-3-8b-instruct nemotron-speech-streaming-en-0.6b piper-en-us-joe-medium
exec ray start --block --disable-usage-stats --address=$RAY_HEAD_ADDRESS:6379 --num-cpus=7 --num-gpus=1 --labels=voxray-pool=nvidia
