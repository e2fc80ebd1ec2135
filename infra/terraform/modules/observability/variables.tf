variable "name" {
  description = "Name of the environment. It begins the name of every resource."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,20}[a-z0-9]$", var.name))
    error_message = "name is 4 to 22 lower-case letters, digits and dashes, and begins with a letter: bucket and load balancer names have to fit."
  }
}

variable "tags" {
  description = "Tags of every resource; the cost reports group by them."
  type        = map(string)
  default     = {}
}

variable "logs_key_arn" {
  description = "Key of logs, metrics and alarms."
  type        = string
}

variable "role_names" {
  description = "Name of the role of each workload; all of them may write metrics."
  type        = map(string)
}

variable "alarm_emails" {
  description = "Addresses that alarms and budget warnings go to; each must confirm once."
  type        = set(string)

  validation {
    condition     = alltrue([for address in var.alarm_emails : can(regex("^[^@ ]+@[^@ ]+\\.[^@ ]+$", address))])
    error_message = "alarm_emails are e-mail addresses."
  }
}

variable "monthly_budget_usd" {
  description = "Monthly budget in US dollars: a warning at 80% spent, and when the forecast reaches 100%."
  type        = number

  validation {
    condition     = var.monthly_budget_usd > 0
    error_message = "monthly_budget_usd is above 0."
  }
}

variable "answer_objective_s" {
  description = "Seconds from the caller's last word to the answer's first audio at the gateway that 95 of 100 answers keep."
  type        = number
  default     = 1

  validation {
    condition     = var.answer_objective_s > 0 && var.answer_objective_s <= 10
    error_message = "answer_objective_s is above 0 and at most 10."
  }
}

variable "head_group_name" {
  description = "Group of the Ray head; null where Kubernetes keeps the head."
  type        = string
  default     = null
}

variable "load_balancer_suffix" {
  description = "How CloudWatch names the load balancer of calls."
  type        = string
}

variable "target_group_suffix" {
  description = "How CloudWatch names the target group of calls."
  type        = string
}

variable "redis_id" {
  description = "Replication group of Redis."
  type        = string
}

variable "postgres_id" {
  description = "PostgreSQL instance."
  type        = string
}
