variable "name" {
  description = "Name of the environment, with which the name of every resource begins."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,20}[a-z0-9]$", var.name))
    error_message = "name must be 4 to 22 lower-case letters, digits and dashes, and begin with a letter: bucket and load balancer names have to fit."
  }
}

variable "tags" {
  description = "Tags of every resource, by which cost reports are grouped."
  type        = map(string)
  default     = {}

  validation {
    condition     = length(var.tags) <= 40 && alltrue([for key in keys(var.tags) : !startswith(key, "aws:")])
    error_message = "AWS takes 50 tags a resource (a few are added here), and keeps keys that begin with aws: to itself."
  }
}

variable "logs_key_arn" {
  description = "Key of logs, metrics and alarms."
  type        = string

  validation {
    condition     = startswith(var.logs_key_arn, "arn:")
    error_message = "logs_key_arn must be an ARN."
  }
}

variable "alarm_emails" {
  description = "E-mail addresses that receive alarms and budget warnings. Each must confirm once."
  type        = set(string)

  validation {
    condition     = alltrue([for address in var.alarm_emails : can(regex("^[^@ ]+@[^@ ]+\\.[^@ ]+$", address))])
    error_message = "alarm_emails must be e-mail addresses."
  }
}

variable "monthly_budget_usd" {
  description = "Monthly budget in US dollars: a warning at 80% spent, and when the forecast reaches 100%."
  type        = number

  validation {
    condition     = var.monthly_budget_usd > 0
    error_message = "monthly_budget_usd must be above 0."
  }
}

variable "head_group_name" {
  description = "Auto Scaling group of the Ray head; null where Kubernetes runs the head."
  type        = string
  default     = null

  validation {
    condition     = var.head_group_name == null || try(length(var.head_group_name) > 0, false)
    error_message = "head_group_name must be null, or not empty."
  }
}

variable "load_balancer_suffix" {
  description = "Name of the load balancer of calls in CloudWatch."
  type        = string

  validation {
    condition     = length(var.load_balancer_suffix) > 0
    error_message = "load_balancer_suffix must not be empty."
  }
}

variable "target_group_suffix" {
  description = "Name of the target group of calls in CloudWatch."
  type        = string

  validation {
    condition     = length(var.target_group_suffix) > 0
    error_message = "target_group_suffix must not be empty."
  }
}

variable "redis_id" {
  description = "Replication group of Redis."
  type        = string

  validation {
    condition     = length(var.redis_id) > 0
    error_message = "redis_id must not be empty."
  }
}

variable "postgres_id" {
  description = "PostgreSQL instance."
  type        = string

  validation {
    condition     = length(var.postgres_id) > 0
    error_message = "postgres_id must not be empty."
  }
}
