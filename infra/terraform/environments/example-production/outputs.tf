output "ray_cluster" {
  description = "The input from which `voxray render ray-ec2` builds the Ray autoscaler's configuration (docs/terraform.md); null without ec2."
  value       = one(module.cluster_ec2[*].ray_cluster)
}

output "rendered_files_uri" {
  description = "URI to which the rendered files are copied: `aws s3 cp --recursive FOLDER URI`."
  value       = one(module.cluster_ec2[*].rendered_files_uri)
}

output "services" {
  description = "YAML with the addresses, buckets and names of secrets that the product's configuration needs."
  value = yamlencode({
    call_address     = module.ingress.address
    idle_timeout_s   = module.ingress.idle_timeout_s
    head_address     = one(module.cluster_ec2[*].head_address)
    redis            = { address = module.data.redis_address, secret_arn = module.data.redis_secret_arn }
    postgres         = { address = module.data.postgres_address, secret_arn = module.data.postgres_secret_arn }
    buckets          = module.data.bucket_names
    images           = { for kind in local.kinds : kind => "${module.data.repository_urls[kind]}:${var.image_tag}" }
    ray_token_secret = module.security.ray_token_secret_arn
    private_link     = module.ingress.private_link_service_name
    kubernetes       = one([for cluster in module.cluster_eks : { name = cluster.cluster_name, api = cluster.api_address, namespace = cluster.namespace, node_groups = cluster.node_groups, service_accounts = cluster.service_accounts, node_port = local.node_port }])
    milvus_volume    = module.data.milvus_volume
    environment      = one(module.cluster_ec2[*].environment)
  })
}
