mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_region" {
    defaults = { name = "eu-central-1" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }

  mock_resource "aws_sns_topic" {
    defaults = { arn = "arn:aws:sns:eu-central-1:123456789012:alarms" }
  }
}

variables {
  name                 = "voxray-test"
  logs_key_arn         = "arn:aws:kms:eu-central-1:123456789012:key/l"
  alarm_emails         = ["a@example.com", "b@example.com"]
  monthly_budget_usd   = 1000
  head_group_name      = "head"
  load_balancer_suffix = "net/calls/1"
  target_group_suffix  = "targetgroup/calls/1"
  redis_id             = "redis"
  postgres_id          = "postgres"
}

run "everybody_is_told_of_every_alarm" {
  command = apply

  module {
    source = "./modules/observability"
  }

  assert {
    condition     = length(aws_sns_topic_subscription.email) == 2 && alltrue([for alarm in aws_cloudwatch_metric_alarm.this : alarm.alarm_actions == toset([aws_sns_topic.alarms.arn])])
    error_message = "An alarm that tells nobody."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.this["head-missing"].treat_missing_data == "breaching" && aws_cloudwatch_metric_alarm.this["gateways-unhealthy"].treat_missing_data == "breaching"
    error_message = "Silence of what must live is an alarm."
  }
}

run "kubernetes_keeps_the_head_so_no_group_is_watched" {
  command = plan

  module {
    source = "./modules/observability"
  }

  variables {
    head_group_name = null
  }

  assert {
    condition     = !contains(keys(aws_cloudwatch_metric_alarm.this), "head-missing") && length(aws_cloudwatch_metric_alarm.this) == 6
    error_message = "An alarm on a group that does not exist."
  }
}

run "a_budget_of_nothing_is_refused" {
  command = plan

  module {
    source = "./modules/observability"
  }

  variables {
    monthly_budget_usd = 0
  }

  expect_failures = [var.monthly_budget_usd]
}

run "an_address_that_is_none_is_refused" {
  command = plan

  module {
    source = "./modules/observability"
  }

  variables {
    alarm_emails = ["nobody"]
  }

  expect_failures = [var.alarm_emails]
}
