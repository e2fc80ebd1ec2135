mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_region" {
    defaults = { name = "eu-central-1" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }

  mock_resource "aws_lb" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/net/calls/0123456789abcdef" }
  }
  mock_resource "aws_lb_target_group" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/calls/0123456789abcdef" }
  }
}

variables {
  name                   = "voxray-test"
  vpc_id                 = "vpc-1"
  subnet_ids             = ["subnet-1", "subnet-2"]
  node_security_group_id = "sg-1"
  caller_cidrs           = ["10.0.0.0/8"]
  certificate_arn        = "arn:aws:acm:eu-central-1:123456789012:certificate/c"
  logs_bucket            = "logs"
}

run "tls_ends_at_the_load_balancer" {
  command = plan

  module {
    source = "./modules/ingress"
  }

  assert {
    condition     = aws_lb_listener.this.protocol == "TLS" && output.idle_timeout_s == 350
    error_message = "A TLS listener cuts after 350 s, whatever is set."
  }

  assert {
    condition     = output.private_link_service_name == null && length(aws_vpc_endpoint_service.this) == 0
    error_message = "PrivateLink is off unless somebody is named."
  }
}

run "kubernetes_takes_over" {
  command = apply

  module {
    source = "./modules/ingress"
  }

  variables {
    node_port = 30800
    serving   = "kubernetes"
  }

  assert {
    condition     = aws_lb_listener.this.default_action[0].target_group_arn == aws_lb_target_group.this["kubernetes"].arn && aws_lb_target_group.this["kubernetes"].port == 30800
    error_message = "New calls go to the NodePort."
  }
}

run "kubernetes_without_a_port_is_refused" {
  command = plan

  module {
    source = "./modules/ingress"
  }

  variables {
    serving = "kubernetes"
  }

  expect_failures = [var.serving]
}

run "callers_from_the_internet_are_refused" {
  command = plan

  module {
    source = "./modules/ingress"
  }

  variables {
    caller_cidrs = ["0.0.0.0/0"]
  }

  expect_failures = [var.caller_cidrs]
}

run "everybody_by_private_link_is_refused" {
  command = plan

  module {
    source = "./modules/ingress"
  }

  variables {
    private_link_principals = ["*"]
  }

  expect_failures = [var.private_link_principals]
}

run "a_call_longer_than_aws_waits_is_refused" {
  command = plan

  module {
    source = "./modules/ingress"
  }

  variables {
    longest_call_s = 7200
  }

  expect_failures = [var.longest_call_s]
}

run "tls_without_a_certificate_is_refused" {
  command = plan

  module {
    source = "./modules/ingress"
  }

  variables {
    certificate_arn = null
  }

  expect_failures = [var.certificate_arn]
}
