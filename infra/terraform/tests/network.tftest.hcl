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
}

variables {
  name               = "voxray-test"
  account_id         = "123456789012"
  cidr               = "10.40.0.0/16"
  availability_zones = ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
  logs_key_arn       = "arn:aws:kms:eu-central-1:123456789012:key/l"
}

run "two_tiers_in_every_zone" {
  command = plan

  module {
    source = "./modules/network"
  }

  assert {
    condition     = length(aws_subnet.this) == 6 && length(aws_route_table_association.this) == 6
    error_message = "Each of three zones has a subnet for machines and one for services."
  }

  assert {
    condition     = aws_subnet.this["nodes-eu-central-1a"].cidr_block == "10.40.0.0/19" && aws_subnet.this["nodes-eu-central-1c"].cidr_block == "10.40.64.0/19"
    error_message = "A zone's machines have an eighth of the range."
  }

  assert {
    condition     = aws_subnet.this["services-eu-central-1a"].cidr_block == "10.40.128.0/22" && aws_subnet.this["services-eu-central-1b"].cidr_block == "10.40.132.0/22"
    error_message = "A zone's services have a 64th of the range, after all machines."
  }
}

run "the_smallest_range_still_fits" {
  command = plan

  module {
    source = "./modules/network"
  }

  variables {
    cidr = "10.40.0.0/20"
  }

  assert {
    condition     = aws_subnet.this["services-eu-central-1c"].cidr_block == "10.40.8.128/26"
    error_message = "A /20 leaves 64 addresses to the services of a zone."
  }
}

run "a_range_too_small_is_refused" {
  command = plan

  module {
    source = "./modules/network"
  }

  variables {
    cidr = "10.40.0.0/24"
  }

  expect_failures = [var.cidr]
}

run "one_zone_is_refused" {
  command = plan

  module {
    source = "./modules/network"
  }

  variables {
    availability_zones = ["eu-central-1a"]
  }

  expect_failures = [var.availability_zones]
}

run "a_missing_endpoint_without_which_nothing_starts_is_refused" {
  command = plan

  module {
    source = "./modules/network"
  }

  variables {
    interface_services = ["ec2", "kms", "logs", "secretsmanager", "sts", "ecr.api"]
  }

  expect_failures = [var.interface_services]
}
