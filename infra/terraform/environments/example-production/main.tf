# Three zones, standbys of each database, nothing deletable by accident, PrivateLink. On EC2, on EKS, or on both while calls
# move from one to the other.

locals {
  tags = {
    "voxray:environment" = var.name
    "voxray:cost-centre" = var.cost_centre
    "voxray:managed-by"  = "terraform"
  }

  kinds     = keys(var.machine_images)
  on_ec2    = contains(var.clusters, "ec2")
  on_eks    = contains(var.clusters, "eks")
  serving   = var.serving == "ec2" ? "machines" : "kubernetes"
  node_port = 30800
  interface_services = [
    "autoscaling", "ec2", "ec2messages", "ecr.api", "ecr.dkr", "elasticloadbalancing", "kms", "logs",
    "monitoring", "secretsmanager", "ssm", "ssmmessages", "sts",
  ]
  images   = ["cpu", "nvidia", "neuron", "milvus"]
  mirrored = ["mirror/kuberay-operator", "mirror/cluster-autoscaler", "mirror/nvidia-device-plugin", "mirror/neuron-device-plugin"]

  # The sizes are those of the topology of the profiles (`voxray config show`): Ray must count as the machines do.
  pools = {
    for name, pool in {
      gateway = {
        kind = "cpu", workload = "gateway", instance_type = "m7i.2xlarge", min = 3, max = 60, cpus = 7, memory_gib = 28, takes_calls = true
      }
      nvidia = {
        kind = "nvidia", workload = "nvidia", instance_type = "g6.2xlarge", min = 2, max = 60, cpus = 7, gpus = 1, memory_gib = 28, accelerator_type = "L4"
      }
      neuron = {
        kind = "neuron", workload = "neuron", instance_type = "inf2.8xlarge", min = 1, max = 20, cpus = 30, neuron_cores = 2, memory_gib = 120, accelerator_type = "aws-neuron-core"
      }
      ingest = {
        kind = "cpu", workload = "ingest", instance_type = "m7i.xlarge", max = 20, cpus = 3, memory_gib = 12, spot = true, idle_timeout_s = 60
      }
    } : name => pool if contains(local.kinds, pool.kind)
  }
}

module "security" {
  source = "../../modules/security"

  name                        = var.name
  tags                        = local.tags
  kubernetes                  = local.on_eks
  permissions_boundary_arn    = var.permissions_boundary_arn
  secret_recovery_window_days = var.deletion_protection ? 30 : 0
}

module "network" {
  source = "../../modules/network"

  name                     = var.name
  tags                     = local.tags
  account_id               = var.account_id
  cidr                     = var.cidr
  availability_zones       = var.availability_zones
  logs_key_arn             = module.security.key_arns["logs"]
  interface_services       = setunion(local.interface_services, local.on_eks ? ["eks", "eks-auth"] : [])
  permissions_boundary_arn = var.permissions_boundary_arn
  flow_log_retention_days  = 365
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
  permissions_boundary_arn    = var.permissions_boundary_arn
  destroyable                 = !var.deletion_protection
  secret_recovery_window_days = var.deletion_protection ? 30 : 0
  recording_retention_days    = 180
  redis_node_type             = "cache.r7g.large"
  redis_nodes                 = 3
  redis_snapshot_days         = 14
  postgres_instance_class     = "db.m7g.large"
  postgres_storage_gib        = 200
  postgres_multi_az           = true
  postgres_backup_days        = 35
  milvus_metadata_gib         = 100
  image_repositories          = concat(local.images, local.on_eks ? local.mirrored : [])
}

module "ingress" {
  source = "../../modules/ingress"

  name                    = var.name
  tags                    = local.tags
  vpc_id                  = module.network.vpc_id
  subnet_ids              = module.network.service_subnet_ids
  node_security_group_id  = module.network.node_security_group_id
  caller_cidrs            = var.caller_cidrs
  certificate_arn         = var.certificate_arn
  logs_bucket             = module.data.bucket_names["logs"]
  node_port               = local.on_eks ? local.node_port : null
  serving                 = local.serving
  private_link_principals = var.private_link_principals
  deletion_protection     = var.deletion_protection
}

module "cluster_ec2" {
  source = "../../modules/cluster_ec2"
  count  = local.on_ec2 ? 1 : 0

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
  head                   = { instance_type = "m7i.2xlarge", disk_gib = 200 }
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
  deletion_protection    = var.deletion_protection
}

module "cluster_eks" {
  source = "../../modules/cluster_eks"
  count  = local.on_eks ? 1 : 0

  name                     = var.name
  tags                     = local.tags
  permissions_boundary_arn = var.permissions_boundary_arn
  vpc_id                   = module.network.vpc_id
  node_subnet_ids          = module.network.node_subnet_ids
  node_security_group_id   = module.network.node_security_group_id
  operator_cidrs           = var.operator_cidrs
  admin_role_arns          = var.admin_role_arns
  key_arns                 = module.security.key_arns
  workload_role_arns       = module.security.role_arns
  pools                    = local.pools
  calls_target_group_arn   = module.ingress.target_group_arns["kubernetes"]
}

module "observability" {
  source = "../../modules/observability"

  name                 = var.name
  tags                 = local.tags
  logs_key_arn         = module.security.key_arns["logs"]
  alarm_emails         = var.alarm_emails
  monthly_budget_usd   = var.monthly_budget_usd
  head_group_name      = one(module.cluster_ec2[*].head_group_name)
  load_balancer_suffix = module.ingress.load_balancer_suffix
  target_group_suffix  = module.ingress.target_group_suffixes[local.serving]
  redis_id             = module.data.redis_id
  postgres_id          = module.data.postgres_id
}
