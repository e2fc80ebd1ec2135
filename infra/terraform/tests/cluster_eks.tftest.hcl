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

  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/r" }
  }
  mock_resource "aws_launch_template" {
    defaults = { id = "lt-0123456789abcdef0" }
  }
  mock_resource "aws_eks_node_group" {
    defaults = { resources = [{ autoscaling_groups = [{ name = "eks-group" }], remote_access_security_group_id = "" }] }
  }
}

variables {
  name                   = "voxray-test"
  vpc_id                 = "vpc-1"
  node_subnet_ids        = ["subnet-1", "subnet-2"]
  node_security_group_id = "sg-1"
  key_arns = {
    storage   = "arn:aws:kms:eu-central-1:123456789012:key/s", recordings = "arn:aws:kms:eu-central-1:123456789012:key/r"
    databases = "arn:aws:kms:eu-central-1:123456789012:key/d", secrets = "arn:aws:kms:eu-central-1:123456789012:key/x"
    volumes   = "arn:aws:kms:eu-central-1:123456789012:key/v", logs = "arn:aws:kms:eu-central-1:123456789012:key/l"
  }
  admin_role_arns        = ["arn:aws:iam::123456789012:role/admin"]
  workload_role_arns     = { gateway = "arn:aws:iam::123456789012:role/g", nvidia = "arn:aws:iam::123456789012:role/n" }
  calls_target_group_arn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/calls/0123456789abcdef"
  pools = {
    gateway = { kind = "cpu", instance_type = "m7i.2xlarge", min = 1, max = 3, takes_calls = true }
    nvidia  = { kind = "nvidia", instance_type = "g6.xlarge", max = 4 }
    neuron  = { kind = "neuron", instance_type = "inf2.xlarge", max = 2 }
    ingest  = { kind = "cpu", instance_type = "m7i.2xlarge", max = 2, spot = true }
  }
}

run "accelerators_are_kept_for_those_that_ask" {
  command = apply

  module {
    source = "./modules/cluster_eks"
  }

  assert {
    condition     = output.node_groups.nvidia.taints == { "nvidia.com/gpu" = "true" } && output.node_groups.neuron.taints == { "aws.amazon.com/neuron" = "true" } && length(output.node_groups.gateway.taints) == 0
    error_message = "Only accelerators are tainted."
  }

  assert {
    condition     = aws_eks_node_group.this["neuron"].ami_type == "AL2023_x86_64_NEURON" && aws_eks_node_group.this["nvidia"].ami_type == "AL2023_x86_64_NVIDIA" && aws_eks_node_group.this["ingest"].capacity_type == "SPOT"
    error_message = "Each kind has its image, and ingest runs on spot machines."
  }

  assert {
    condition     = keys(aws_autoscaling_attachment.calls) == ["gateway"] && aws_autoscaling_attachment.calls["gateway"].autoscaling_group_name == "eks-group"
    error_message = "Nodes of pools that take calls stand behind the ingress."
  }

  assert {
    condition     = aws_eks_cluster.this.vpc_config[0].endpoint_public_access == false && aws_eks_cluster.this.vpc_config[0].endpoint_private_access
    error_message = "The API has a private address only."
  }
}

run "a_cluster_without_administrators_is_refused" {
  command = plan

  module {
    source = "./modules/cluster_eks"
  }

  variables {
    admin_role_arns = []
  }

  expect_failures = [var.admin_role_arns]
}

run "the_api_for_everybody_is_refused" {
  command = plan

  module {
    source = "./modules/cluster_eks"
  }

  variables {
    operator_cidrs = ["0.0.0.0/0"]
  }

  expect_failures = [var.operator_cidrs]
}
