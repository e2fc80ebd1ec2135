# One internal load balancer in front of the gateways. It balances connections: a call is one connection for its whole life.

locals {
  host_port = 8000 # HAProxy of the machines
  groups = merge(
    { machines = { port = local.host_port, check_port = local.host_port } },
    var.node_port == null ? {} : { kubernetes = { port = var.node_port, check_port = var.node_port } },
  )
}

resource "aws_security_group" "this" {
  name        = "${var.name}-ingress"
  description = "Callers"
  vpc_id      = var.vpc_id
  tags        = merge(var.tags, { Name = "${var.name}-ingress" })
}

resource "aws_vpc_security_group_ingress_rule" "callers" {
  for_each = var.caller_cidrs

  security_group_id = aws_security_group.this.id
  description       = "Calls"
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  tags              = var.tags
}

resource "aws_vpc_security_group_egress_rule" "nodes" {
  for_each = local.groups

  security_group_id            = aws_security_group.this.id
  description                  = "Calls to ${each.key}"
  referenced_security_group_id = var.node_security_group_id
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
  tags                         = var.tags
}

resource "aws_vpc_security_group_ingress_rule" "nodes" {
  for_each = local.groups

  security_group_id            = var.node_security_group_id
  description                  = "Calls from the load balancer to ${each.key}"
  referenced_security_group_id = aws_security_group.this.id
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
  tags                         = var.tags
}

resource "aws_lb" "this" {
  #checkov:skip=CKV_AWS_150: a variable; on but in example-small
  name                             = "${var.name}-calls"
  load_balancer_type               = "network"
  internal                         = true
  subnets                          = var.subnet_ids
  security_groups                  = [aws_security_group.this.id]
  enable_cross_zone_load_balancing = true
  enable_deletion_protection       = var.deletion_protection

  access_logs {
    enabled = true
    bucket  = var.logs_bucket
    prefix  = "calls"
  }

  # Callers by PrivateLink come with addresses of their own VPC; there acceptance and the list of principals decide.
  enforce_security_group_inbound_rules_on_private_link_traffic = length(var.private_link_principals) > 0 ? "off" : null
  tags                                                         = merge(var.tags, { Name = "${var.name}-calls" })
}

resource "aws_lb_target_group" "this" {
  for_each = local.groups

  name                   = "${var.name}-${each.key == "machines" ? "ec2" : "eks"}"
  vpc_id                 = var.vpc_id
  target_type            = "instance"
  protocol               = "TCP"
  port                   = each.value.port
  preserve_client_ip     = true
  deregistration_delay   = var.longest_call_s # a machine that leaves keeps its calls until they end
  connection_termination = true               # and what is left then is closed, not left to hang
  tags                   = var.tags

  health_check {
    protocol            = "HTTP"
    port                = tostring(each.value.check_port)
    path                = "/healthz"
    interval            = 10
    healthy_threshold   = 2
    unhealthy_threshold = 3
  }
}

# TLS ends here: connections that are idle for 350 s are cut, which no setting changes; the gateway pings every 20 s.
resource "aws_lb_listener" "this" {
  load_balancer_arn = aws_lb.this.arn
  port              = 443
  protocol          = "TLS"
  certificate_arn   = var.certificate_arn
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-Res-2021-06"
  tags              = var.tags

  default_action {
    type             = "forward" # a network load balancer forwards to one group, without shares
    target_group_arn = aws_lb_target_group.this[var.serving].arn
  }
}

################################################################################
# PrivateLink: other VPCs and accounts call without a route between the networks
################################################################################

resource "aws_vpc_endpoint_service" "this" {
  count = length(var.private_link_principals) > 0 ? 1 : 0

  acceptance_required        = true
  network_load_balancer_arns = [aws_lb.this.arn]
  allowed_principals         = var.private_link_principals
  tags                       = merge(var.tags, { Name = "${var.name}-calls" })
}
