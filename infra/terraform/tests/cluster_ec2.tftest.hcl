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
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/net/head/0123456789abcdef", dns_name = "head.example" }
  }
  mock_resource "aws_lb_target_group" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/head/0123456789abcdef" }
  }
  mock_resource "aws_launch_template" {
    defaults = { id = "lt-0123456789abcdef0", arn = "arn:aws:ec2:eu-central-1:123456789012:launch-template/lt-0123456789abcdef0", latest_version = 7 }
  }
}

variables {
  name                   = "voxray-test"
  vpc_id                 = "vpc-1"
  node_subnet_ids        = ["subnet-1", "subnet-2"]
  service_subnet_ids     = ["subnet-3", "subnet-4"]
  node_security_group_id = "sg-1"
  key_arns = {
    storage   = "arn:aws:kms:eu-central-1:123456789012:key/s", recordings = "arn:aws:kms:eu-central-1:123456789012:key/r"
    databases = "arn:aws:kms:eu-central-1:123456789012:key/d", secrets = "arn:aws:kms:eu-central-1:123456789012:key/x"
    volumes   = "arn:aws:kms:eu-central-1:123456789012:key/v", logs = "arn:aws:kms:eu-central-1:123456789012:key/l"
  }
  role_names = { head = "h", gateway = "g", nvidia = "n", neuron = "e", ingest = "i", milvus = "m" }
  role_arns = {
    head   = "arn:aws:iam::123456789012:role/h", gateway = "arn:aws:iam::123456789012:role/g", nvidia = "arn:aws:iam::123456789012:role/n"
    neuron = "arn:aws:iam::123456789012:role/e", ingest = "arn:aws:iam::123456789012:role/i"
  }
  instance_profile_names = { head = "h", gateway = "g", nvidia = "n", neuron = "e", ingest = "i" }
  autoscaling_role_arn   = "arn:aws:iam::123456789012:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling_x"
  machine_images         = { cpu = "ami-00000001", nvidia = "ami-00000002", neuron = "ami-00000003" }
  container_images       = { cpu = "registry/cpu:1", nvidia = "registry/nvidia:1", neuron = "registry/neuron:1" }
  ray_token_secret_arn   = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:t"
  redis_secret_arn       = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:r"
  redis_address          = "redis.example:6379"
  artifacts_bucket       = "artifacts"
  calls_target_group_arn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/calls/0123456789abcdef"
  pools = {
    gateway = { kind = "cpu", workload = "gateway", instance_type = "m7i.2xlarge", min = 1, max = 3, cpus = 7, memory_gib = 28, takes_calls = true }
    nvidia  = { kind = "nvidia", workload = "nvidia", instance_type = "g6.xlarge", max = 4, cpus = 3, gpus = 1, accelerator_type = "L4" }
    neuron  = { kind = "neuron", workload = "neuron", instance_type = "inf2.xlarge", max = 2, cpus = 3, neuron_cores = 2 }
    ingest  = { kind = "cpu", workload = "ingest", instance_type = "m7i.2xlarge", max = 2, cpus = 7, spot = true, idle_timeout_s = 60 }
  }
}

run "ray_is_told_what_a_machine_of_each_pool_has" {
  command = apply

  module {
    source = "./modules/cluster_ec2"
  }

  assert {
    condition     = yamldecode(output.ray_cluster).available_node_types.nvidia.resources == { CPU = 3, GPU = 1, "accelerator_type:L4" = 1 }
    error_message = "An NVIDIA machine has GPUs, by their kind."
  }

  assert {
    condition     = yamldecode(output.ray_cluster).available_node_types.neuron.resources == { CPU = 3, neuron_cores = 2 }
    error_message = "An Inferentia machine has neuron_cores."
  }

  assert {
    condition     = yamldecode(output.ray_cluster).available_node_types.gateway.resources == { CPU = 7, memory = 30064771072 }
    error_message = "Memory is in bytes."
  }

  assert {
    condition     = yamldecode(output.ray_cluster).available_node_types.head.resources == { CPU = 0 } && yamldecode(output.ray_cluster).max_workers == 11
    error_message = "The head runs no replicas, and all pools together are the limit."
  }

  assert {
    condition     = yamldecode(output.ray_cluster).available_node_types.ingest.node_config.LaunchTemplate == { LaunchTemplateName = "voxray-test-ingest", Version = "7" }
    error_message = "Ray starts a named version, so that a change of the template comes when the configuration is rendered again."
  }

  assert {
    condition     = yamldecode(output.ray_cluster).available_node_types.ingest.idle_timeout_s == 60 && !can(yamldecode(output.ray_cluster).available_node_types.nvidia.idle_timeout_s)
    error_message = "A pool's own idle time is passed on, none is not."
  }
}

run "machines_start_ray_with_the_resources_of_their_pool" {
  command = apply

  module {
    source = "./modules/cluster_ec2"
  }

  assert {
    condition     = strcontains(base64decode(aws_launch_template.this["neuron"].user_data), "--resources='{\"neuron_cores\":2}'") && strcontains(base64decode(aws_launch_template.this["neuron"].user_data), "--num-gpus=0")
    error_message = "What Ray is told at start is what its autoscaler expects."
  }

  assert {
    condition     = yamldecode(output.ray_cluster).available_node_types.ingest.resources == { CPU = 7, ingest = 1 } && strcontains(base64decode(aws_launch_template.this["ingest"].user_data), "--resources='{\"ingest\":1}'") && !can(yamldecode(output.ray_cluster).available_node_types.gateway.resources.ingest)
    error_message = "Jobs on business data ask for the resource ingest, which only the ingest pool offers."
  }

  assert {
    condition     = strcontains(split("--name ray", base64decode(aws_launch_template.this["nvidia"].user_data))[0], "xargs -a '/etc/voxray/models-nvidia.txt' voxray models fetch") && !strcontains(base64decode(aws_launch_template.this["head"].user_data), "models fetch")
    error_message = "Workers have their weights before Ray starts; the head runs no replica."
  }

  assert {
    condition     = strcontains(base64decode(aws_launch_template.this["gateway"].user_data), "register-targets") && !strcontains(base64decode(aws_launch_template.this["nvidia"].user_data), "register-targets")
    error_message = "Only pools that take calls stand behind the load balancer."
  }

  assert {
    condition     = strcontains(base64decode(aws_launch_template.this["head"].user_data), "ray start --head") && strcontains(base64decode(aws_launch_template.this["nvidia"].user_data), "--address='head.example:6379'")
    error_message = "Workers join by the head's lasting address."
  }
}

run "secrets_reach_those_who_need_them_by_reference" {
  command = apply

  variables {
    secret_environment = {
      VOXRAY_SQL_PASSWORD = { secret_arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:sql", key = "password", workloads = ["gateway"] }
    }
  }

  module {
    source = "./modules/cluster_ec2"
  }

  assert {
    condition     = strcontains(base64decode(aws_launch_template.this["gateway"].user_data), "retry secret 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:sql'") && strcontains(base64decode(aws_launch_template.this["gateway"].user_data), "[\"password\"]")
    error_message = "A gateway takes the password of PostgreSQL out of its secret."
  }

  assert {
    condition     = !strcontains(base64decode(aws_launch_template.this["nvidia"].user_data), "VOXRAY_SQL_PASSWORD")
    error_message = "A GPU machine needs no password of PostgreSQL."
  }
}

run "spot_machines_for_calls_are_refused" {
  command = plan

  module {
    source = "./modules/cluster_ec2"
  }

  variables {
    pools = { gateway = { kind = "cpu", workload = "gateway", instance_type = "m7i.2xlarge", max = 1, cpus = 7, spot = true } }
  }

  expect_failures = [var.pools]
}

run "a_gpu_pool_without_gpus_is_refused" {
  command = plan

  module {
    source = "./modules/cluster_ec2"
  }

  variables {
    pools = { nvidia = { kind = "nvidia", workload = "nvidia", instance_type = "g6.xlarge", max = 1, cpus = 3 } }
  }

  expect_failures = [var.pools]
}

run "half_a_neuron_core_is_refused" {
  command = plan

  module {
    source = "./modules/cluster_ec2"
  }

  variables {
    pools = { neuron = { kind = "neuron", workload = "neuron", instance_type = "inf2.xlarge", max = 1, cpus = 3, neuron_cores = 0.5 } }
  }

  expect_failures = [var.pools]
}

run "a_pool_without_an_image_of_its_kind_is_refused" {
  command = plan

  module {
    source = "./modules/cluster_ec2"
  }

  variables {
    machine_images = { cpu = "ami-00000001", nvidia = "ami-00000002" }
  }

  expect_failures = [var.pools]
}

run "the_tag_latest_is_refused" {
  command = plan

  module {
    source = "./modules/cluster_ec2"
  }

  variables {
    container_images = { cpu = "registry/cpu:latest", nvidia = "registry/nvidia:1", neuron = "registry/neuron:1" }
  }

  expect_failures = [var.container_images]
}

run "machines_have_the_switches_that_they_are_given_and_no_others" {
  command = apply

  variables {
    environment = { RAY_AUTH_MODE = "token", RAY_SERVE_HAPROXY_MAXCONN = "4096" }
  }

  module {
    source = "./modules/cluster_ec2"
  }

  assert {
    condition     = output.environment == { RAY_AUTH_MODE = "token", RAY_SERVE_HAPROXY_MAXCONN = "4096", RAY_AUTH_TOKEN_PATH = "/run/voxray/ray_token" }
    error_message = "The module adds the place of the token, and no switch of its own."
  }

  assert {
    condition     = strcontains(base64decode(aws_launch_template.this["gateway"].user_data), "RAY_SERVE_HAPROXY_MAXCONN=4096")
    error_message = "A machine finds its switches in its start script."
  }
}
