# What tells people that something is wrong, and what it costs.

data "aws_caller_identity" "this" {}
data "aws_region" "this" {}

locals {
  account = data.aws_caller_identity.this.account_id
  region  = data.aws_region.this.name

  # Each alarm names what a person then does.
  alarms = merge(
    var.head_group_name == null ? {} : {
      head-missing = {
        namespace   = "AWS/AutoScaling", metric = "GroupInServiceInstances", statistic = "Minimum", dimensions = { AutoScalingGroupName = var.head_group_name }
        comparison  = "LessThanThreshold", threshold = 1, minutes = 10, missing = "breaching"
        description = "No Ray head for ten minutes. Calls go on, but nothing is started or replaced. Look at the group's activity and /voxray/${var.name}/nodes."
      }
    },
    {
      gateways-unhealthy = {
        namespace   = "AWS/NetworkELB", metric = "HealthyHostCount", statistic = "Minimum", dimensions = { LoadBalancer = var.load_balancer_suffix, TargetGroup = var.target_group_suffix }
        comparison  = "LessThanThreshold", threshold = 1, minutes = 3, missing = "breaching"
        description = "No machine takes calls. Look at `voxray status` on the head, then at the machines of the pool that takes calls."
      }
      redis-memory = {
        namespace   = "AWS/ElastiCache", metric = "DatabaseMemoryUsagePercentage", statistic = "Maximum", dimensions = { ReplicationGroupId = var.redis_id }
        comparison  = "GreaterThanThreshold", threshold = 80, minutes = 5, missing = "notBreaching"
        description = "Redis is nearly full; when it is, calls lose events. Take a larger redis_node_type."
      }
      redis-cpu = {
        namespace   = "AWS/ElastiCache", metric = "EngineCPUUtilization", statistic = "Average", dimensions = { ReplicationGroupId = var.redis_id }
        comparison  = "GreaterThanThreshold", threshold = 70, minutes = 5, missing = "notBreaching"
        description = "Redis's one thread is busy, which every turn feels. Take a faster redis_node_type."
      }
      postgres-disk = {
        namespace   = "AWS/RDS", metric = "FreeStorageSpace", statistic = "Minimum", dimensions = { DBInstanceIdentifier = var.postgres_id }
        comparison  = "LessThanThreshold", threshold = 5 * 1073741824, minutes = 5, missing = "notBreaching"
        description = "PostgreSQL has less than 5 GiB left, and has reached the end of its own growth. Raise postgres_storage_gib."
      }
      postgres-cpu = {
        namespace   = "AWS/RDS", metric = "CPUUtilization", statistic = "Average", dimensions = { DBInstanceIdentifier = var.postgres_id }
        comparison  = "GreaterThanThreshold", threshold = 80, minutes = 10, missing = "notBreaching"
        description = "PostgreSQL is busy. Look at Performance Insights for the query."
      }
      calls-refused-by-load-balancer = {
        namespace   = "AWS/NetworkELB", metric = "RejectedFlowCount", statistic = "Sum", dimensions = { LoadBalancer = var.load_balancer_suffix }
        comparison  = "GreaterThanThreshold", threshold = 0, minutes = 5, missing = "notBreaching"
        description = "The load balancer refused connections."
      }
    },
  )
}

################################################################################
# Who is told
################################################################################

resource "aws_sns_topic" "alarms" {
  name              = "${var.name}-alarms"
  kms_master_key_id = var.logs_key_arn
  tags              = var.tags
}

data "aws_iam_policy_document" "alarms" {
  statement {
    sid       = "AlarmsAndBudgets"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.alarms.arn]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com", "budgets.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

resource "aws_sns_topic_policy" "alarms" {
  arn    = aws_sns_topic.alarms.arn
  policy = data.aws_iam_policy_document.alarms.json
}

resource "aws_sns_topic_subscription" "email" {
  for_each = var.alarm_emails

  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = each.value
}

################################################################################
# Alarms and dashboard
################################################################################

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.description
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  period              = 60
  evaluation_periods  = each.value.minutes
  treat_missing_data  = each.value.missing
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
  tags                = var.tags
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name
  dashboard_body = jsonencode({
    widgets = [
      for index, name in sort(keys(local.alarms)) : {
        type   = "metric"
        x      = (index % 2) * 12
        y      = floor(index / 2) * 6
        width  = 12
        height = 6
        properties = {
          title       = name
          region      = local.region
          period      = 60
          stat        = local.alarms[name].statistic
          metrics     = [concat([local.alarms[name].namespace, local.alarms[name].metric], flatten([for key, value in local.alarms[name].dimensions : [key, value]]))]
          annotations = { horizontal = [{ value = local.alarms[name].threshold, label = "alarm" }] }
        }
      }
    ]
  })
}

################################################################################
# Cost
################################################################################

# Counts what bears this environment's tag; the tag must be activated once in the account's billing settings.
resource "aws_budgets_budget" "monthly" {
  name         = "${var.name}-monthly"
  budget_type  = "COST"
  limit_amount = tostring(var.monthly_budget_usd)
  limit_unit   = "USD"
  time_unit    = "MONTHLY"
  tags         = var.tags

  cost_filter {
    name   = "TagKeyValue"
    values = [join("$", ["user:voxray:environment", var.name])]
  }

  dynamic "notification" {
    for_each = { ACTUAL = 80, FORECASTED = 100 }

    content {
      comparison_operator       = "GREATER_THAN"
      notification_type         = notification.key
      threshold                 = notification.value
      threshold_type            = "PERCENTAGE"
      subscriber_sns_topic_arns = [aws_sns_topic.alarms.arn]
    }
  }
}
