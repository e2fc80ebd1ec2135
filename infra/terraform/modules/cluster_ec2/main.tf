# Ray on EC2: a head that recovers by itself, and a launch template for each pool, from which Ray's own autoscaler on the
# head starts machines as calls come and ends them as calls go. Terraform makes no worker itself.

data "aws_caller_identity" "this" {}
data "aws_partition" "this" {}
data "aws_region" "this" {}

locals {
  account   = data.aws_caller_identity.this.account_id
  partition = data.aws_partition.this.partition
  region    = data.aws_region.this.name
  arn_ec2   = "arn:${local.partition}:ec2:${local.region}:${local.account}"
  gib       = 1073741824

  # What `voxray render ray-ec2` makes of our outputs, and an operator puts there.
  rendered_files = "s3://${var.artifacts_bucket}/cluster/${var.name}"

  # What reaches the head from other machines: state (GCS), jobs and dashboard.
  head_ports = { gcs = 6379, dashboard = 8265 }

  head = {
    kind           = "cpu", workload = "head", instance_type = var.head.instance_type, disk_gib = var.head.disk_gib, spot = false,
    min            = 0, max = 0, cpus = 0, gpus = 0, neuron_cores = 0, memory_gib = 0, accelerator_type = null, takes_calls = false,
    idle_timeout_s = null
  }
  groups = merge({ head = local.head }, var.pools)

  # Ray's view of a machine of each pool. Whole numbers: Ray schedules fractions of a GPU itself, and none of a Neuron core.
  resources = {
    for name, group in local.groups : name => merge(
      { CPU = group.cpus },
      group.gpus > 0 ? { GPU = group.gpus } : {},
      group.gpus > 0 && group.accelerator_type != null ? { "accelerator_type:${group.accelerator_type}" = 1 } : {},
      group.neuron_cores > 0 ? { neuron_cores = group.neuron_cores } : {},
      group.workload == "ingest" ? { ingest = 1 } : {}, # jobs on business data ask for it, so that they run where no calls are
      group.memory_gib > 0 ? { memory = group.memory_gib * local.gib } : {},
    )
  }
  # What `ray start` is told by --resources; the others have options of their own.
  custom_resources = {
    for name, resources in local.resources : name => { for key, value in resources : key => value if !contains(["CPU", "GPU", "memory"], key) }
  }
  labels = {
    for name, group in local.groups : name => {
      "voxray-pool"   = name
      "voxray-kind"   = group.kind
      "voxray-market" = group.spot ? "spot" : "on-demand"
    }
  }

  # Ray's switches have one source, which is not here: `voxray render switches` writes them for this variable.
  environment = merge({ RAY_AUTH_TOKEN_PATH = "/run/voxray/ray_token" }, var.environment)

  tags = { for name, group in local.groups : name => merge(var.tags, { Name = "${var.name}-${name}", "voxray:pool" = name }) }
}

################################################################################
# The head's address: stays when the head is replaced
################################################################################

resource "aws_security_group" "head" {
  name        = "${var.name}-head"
  description = "The way to the Ray head"
  vpc_id      = var.vpc_id
  tags        = merge(var.tags, { Name = "${var.name}-head" })
}

resource "aws_vpc_security_group_ingress_rule" "head_from_nodes" {
  for_each = local.head_ports

  security_group_id            = aws_security_group.head.id
  description                  = "${each.key} for machines"
  referenced_security_group_id = var.node_security_group_id
  ip_protocol                  = "tcp"
  from_port                    = each.value
  to_port                      = each.value
  tags                         = var.tags
}

# Operators see the dashboard and submit jobs, by the token; they never reach the GCS.
resource "aws_vpc_security_group_ingress_rule" "head_from_operators" {
  for_each = var.operator_cidrs

  security_group_id = aws_security_group.head.id
  description       = "Dashboard and jobs"
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = local.head_ports.dashboard
  to_port           = local.head_ports.dashboard
  tags              = var.tags
}

resource "aws_vpc_security_group_egress_rule" "head_to_nodes" {
  for_each = local.head_ports

  security_group_id            = aws_security_group.head.id
  description                  = "${each.key} to the head"
  referenced_security_group_id = var.node_security_group_id
  ip_protocol                  = "tcp"
  from_port                    = each.value
  to_port                      = each.value
  tags                         = var.tags
}

resource "aws_vpc_security_group_ingress_rule" "nodes_from_head_address" {
  for_each = local.head_ports

  security_group_id            = var.node_security_group_id
  description                  = "${each.key} from the load balancer of the head"
  referenced_security_group_id = aws_security_group.head.id
  ip_protocol                  = "tcp"
  from_port                    = each.value
  to_port                      = each.value
  tags                         = var.tags
}

resource "aws_lb" "head" {
  #checkov:skip=CKV_AWS_91: a network load balancer logs TLS connections only, and this one passes TCP through
  #checkov:skip=CKV_AWS_150: a variable; on but in example-small
  name                             = "${var.name}-head"
  load_balancer_type               = "network"
  internal                         = true
  subnets                          = var.service_subnet_ids
  security_groups                  = [aws_security_group.head.id]
  enable_cross_zone_load_balancing = true
  enable_deletion_protection       = var.deletion_protection
  tags                             = merge(var.tags, { Name = "${var.name}-head" })
}

resource "aws_lb_target_group" "head" {
  for_each = local.head_ports

  name                   = "${var.name}-${each.key}"
  vpc_id                 = var.vpc_id
  target_type            = "instance"
  protocol               = "TCP"
  port                   = each.value
  preserve_client_ip     = false # a machine may reach the head that runs beside it
  deregistration_delay   = 30
  connection_termination = true
  tags                   = var.tags

  health_check {
    protocol            = "TCP"
    interval            = 10
    healthy_threshold   = 2
    unhealthy_threshold = 3
  }
}

resource "aws_lb_listener" "head" {
  for_each = local.head_ports

  load_balancer_arn        = aws_lb.head.arn
  port                     = each.value
  protocol                 = "TCP"
  tcp_idle_timeout_seconds = 6000
  tags                     = var.tags

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.head[each.key].arn
  }
}

################################################################################
# Launch templates
################################################################################

# No subnet and no network interface in them: Ray tries the subnets of all zones in turn, which it cannot if a template
# names one. Addresses stay private because the subnets give no public ones.
resource "aws_launch_template" "this" {
  for_each = local.groups

  name                   = "${var.name}-${each.key}"
  description            = "Ray ${each.key}"
  image_id               = var.machine_images[each.value.kind]
  instance_type          = each.value.instance_type
  vpc_security_group_ids = [var.node_security_group_id]
  update_default_version = true
  ebs_optimized          = true

  iam_instance_profile {
    name = var.instance_profile_names[each.value.workload]
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1 # the containers use the host's network
    instance_metadata_tags      = "disabled"
  }

  block_device_mappings {
    device_name = "/dev/xvda"

    ebs {
      volume_size           = each.value.disk_gib
      volume_type           = "gp3"
      encrypted             = true
      kms_key_id            = var.key_arns["volumes"]
      delete_on_termination = true
    }
  }

  monitoring {
    enabled = true
  }

  dynamic "instance_market_options" {
    for_each = each.value.spot ? [1] : []

    content {
      market_type = "spot"
    }
  }

  # No tags of the template's own: what costs money is what it starts.
  dynamic "tag_specifications" {
    for_each = toset(["instance", "volume", "network-interface"])

    content {
      resource_type = tag_specifications.value
      tags          = local.tags[each.key]
    }
  }

  user_data = base64encode(templatefile("${path.module}/templates/node.sh.tftpl", {
    region         = local.region
    cluster        = var.name
    is_head        = each.key == "head"
    pool           = each.key
    models_folder  = var.models_folder
    kind           = each.value.kind
    takes_calls    = each.value.takes_calls
    image          = var.container_images[each.value.kind]
    head_address   = aws_lb.head.dns_name
    gcs_port       = local.head_ports.gcs
    dashboard_port = local.head_ports.dashboard
    cpus           = each.value.cpus
    gpus           = each.value.gpus
    memory_bytes   = each.value.memory_gib * local.gib
    resources      = jsonencode(local.custom_resources[each.key])
    labels         = join(",", [for key, value in local.labels[each.key] : "${key}=${value}"])
    environment    = local.environment
    token_secret   = var.ray_token_secret_arn
    secrets        = { for name, secret in var.secret_environment : name => secret if contains(secret.workloads, each.value.workload) }
    redis_secret   = var.redis_secret_arn
    redis_address  = var.redis_address
    rendered_files = local.rendered_files
    target_group   = var.calls_target_group_arn
    log_group      = aws_cloudwatch_log_group.nodes.name
  }))
}

resource "aws_cloudwatch_log_group" "nodes" {
  name              = "/voxray/${var.name}/nodes"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.key_arns["logs"]
  tags              = var.tags
}

################################################################################
# The head: a group of one, in whichever zone has room
################################################################################

resource "aws_autoscaling_group" "head" {
  name                      = "${var.name}-head"
  min_size                  = 1
  max_size                  = 1
  desired_capacity          = 1
  vpc_zone_identifier       = var.node_subnet_ids
  target_group_arns         = [for group in aws_lb_target_group.head : group.arn]
  service_linked_role_arn   = var.autoscaling_role_arn
  health_check_type         = "ELB" # a head whose GCS does not answer is replaced; its state is in Redis
  health_check_grace_period = 600
  wait_for_capacity_timeout = "0" # the head waits for its configuration, which is rendered from our outputs

  launch_template {
    id      = aws_launch_template.this["head"].id
    version = aws_launch_template.this["head"].latest_version
  }

  dynamic "tag" {
    # The first three are how Ray's autoscaler knows its own machine.
    for_each = merge(local.tags["head"], {
      "ray-cluster-name"   = var.name
      "ray-node-type"      = "head"
      "ray-user-node-type" = "head"
      "ray-node-name"      = "ray-${var.name}-head"
      "ray-node-status"    = "up-to-date"
      "ray-launch-config"  = "terraform"
    })

    content {
      key                 = tag.key
      value               = tag.value
      propagate_at_launch = true
    }
  }
}
