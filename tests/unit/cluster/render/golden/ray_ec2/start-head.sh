#!/bin/sh
# Rendered by `voxray render ray-ec2`. Set before: RAY_AUTH_TOKEN_PATH (file with the cluster's token) and,
# on workers, RAY_HEAD_ADDRESS. The secrets that the tree names must be in the environment too.
set -eu
set -a
. /etc/voxray/ray.env
set +a
export VOXRAY_CONFIG=/etc/voxray/voxray.yaml VOXRAY_MODELS=/var/lib/voxray/models
export RAY_REDIS_ADDRESS=rediss://redis.internal:6379
export RAY_external_storage_namespace=voxray
exec ray start --block --disable-usage-stats --head --port=6379 --dashboard-port=8265 --dashboard-host=0.0.0.0 --num-cpus=0 --autoscaling-config=/etc/voxray/ray.yaml --redis-password="$VOXRAY_REDIS_PASSWORD"
