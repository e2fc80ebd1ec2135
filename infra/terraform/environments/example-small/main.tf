# A pilot: two zones, one machine of each database, everything deletable. One pool each of CPU, NVIDIA and Inferentia
# machines, which cost nothing until they are started.

locals {
  tags = {
    "voxray:environment" = var.name
    "voxray:cost-centre" = var.cost_centre
    "voxray:managed-by"  = "terraform"
  }

  kinds = keys(var.machine_images)

  # The sizes are those of the topology of the profiles (`voxray config show`): Ray must count as the machines do.
  pools = {
    for name, pool in {
      gateway = {
        kind = "cpu", workload = "gateway", instance_type = "m7i.2xlarge", min = 1, max = 3, cpus = 7, memory_gib = 28, takes_calls = true
      }
      nvidia = {
        kind = "nvidia", workload = "nvidia", instance_type = "g6.2xlarge", min = 0, max = 3, cpus = 7, gpus = 1, memory_gib = 28, accelerator_type = "L4"
      }
      neuron = {
        kind = "neuron", workload = "neuron", instance_type = "inf2.8xlarge", min = 0, max = 2, cpus = 30, neuron_cores = 2, memory_gib = 120, accelerator_type = "aws-neuron-core"
      }
      ingest = {
        kind = "cpu", workload = "ingest", instance_type = "m7i.xlarge", max = 2, cpus = 3, memory_gib = 12, spot = true, idle_timeout_s = 60
      }
    } : name => pool if contains(local.kinds, pool.kind)
  }
}

module "security" {
  source = "../../modules/security"

  name                        = var.name
  tags                        = local.tags
  key_deletion_window_days    = 7
  secret_recovery_window_days = 0
}

module "network" {
  source = "../../modules/network"

  name                    = var.name
  tags                    = local.tags
  account_id              = var.account_id
  cidr                    = var.cidr
  availability_zones      = var.availability_zones
  logs_key_arn            = module.security.key_arns["logs"]
  flow_log_retention_days = 365
}

module "data" {
  source = "../../modules/data"

  name                        = var.name
  tags                        = local.tags
  key_arns                    = module.security.key_arns
  role_names                  = module.security.role_names
  vpc_id                      = module.network.vpc_id
  subnet_ids                  = module.network.service_subnet_ids
  availability_zones          = var.availability_zones
  client_security_group_ids   = { nodes = module.network.node_security_group_id }
  s3_endpoint_id              = module.network.s3_endpoint_id
  object_principal_arns       = var.object_principal_arns
  destroyable                 = true
  secret_recovery_window_days = 0
  recording_retention_days    = 30
}

module "ingress" {
  source = "../../modules/ingress"

  name                   = var.name
  tags                   = local.tags
  vpc_id                 = module.network.vpc_id
  subnet_ids             = module.network.service_subnet_ids
  node_security_group_id = module.network.node_security_group_id
  caller_cidrs           = var.caller_cidrs
  certificate_arn        = var.certificate_arn
  logs_bucket            = module.data.bucket_names["logs"]
  deletion_protection    = false
}

module "cluster_ec2" {
  source = "../../modules/cluster_ec2"

  name                   = var.name
  tags                   = local.tags
  vpc_id                 = module.network.vpc_id
  node_subnet_ids        = module.network.node_subnet_ids
  service_subnet_ids     = module.network.service_subnet_ids
  node_security_group_id = module.network.node_security_group_id
  operator_cidrs         = var.operator_cidrs
  key_arns               = module.security.key_arns
  role_names             = module.security.role_names
  role_arns              = module.security.role_arns
  instance_profile_names = module.security.instance_profile_names
  autoscaling_role_arn   = module.security.autoscaling_role_arn
  machine_images         = var.machine_images
  container_images       = { for kind in local.kinds : kind => "${module.data.repository_urls[kind]}:${var.image_tag}" }
  head                   = { instance_type = "m7i.large" }
  pools                  = local.pools
  environment            = var.environment
  secret_environment = {
    VOXRAY_REDIS_PASSWORD = { secret_arn = module.data.redis_secret_arn, workloads = ["head", "gateway", "nvidia", "neuron", "ingest"] }
    VOXRAY_SQL_PASSWORD   = { secret_arn = module.data.postgres_secret_arn, key = "password", workloads = ["gateway", "ingest"] }
  }
  ray_token_secret_arn   = module.security.ray_token_secret_arn
  redis_secret_arn       = module.data.redis_secret_arn
  redis_address          = module.data.redis_address
  artifacts_bucket       = module.data.bucket_names["artifacts"]
  calls_target_group_arn = module.ingress.target_group_arns["machines"]
  deletion_protection    = false
}

module "observability" {
  source = "../../modules/observability"

  name                 = var.name
  tags                 = local.tags
  logs_key_arn         = module.security.key_arns["logs"]
  alarm_emails         = var.alarm_emails
  monthly_budget_usd   = var.monthly_budget_usd
  head_group_name      = module.cluster_ec2.head_group_name
  load_balancer_suffix = module.ingress.load_balancer_suffix
  target_group_suffix  = module.ingress.target_group_suffixes["machines"]
  redis_id             = module.data.redis_id
  postgres_id          = module.data.postgres_id
}
