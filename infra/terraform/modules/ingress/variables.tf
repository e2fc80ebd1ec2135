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

variable "vpc_id" {
  description = "VPC of the load balancer."
  type        = string

  validation {
    condition     = startswith(var.vpc_id, "vpc-")
    error_message = "vpc_id must begin with vpc-."
  }
}

variable "subnet_ids" {
  description = "Subnets of the load balancer, one per zone."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) >= 2
    error_message = "Name subnets in two zones at least."
  }
}

variable "node_security_group_id" {
  description = "Security group of the machines that take calls."
  type        = string

  validation {
    condition     = startswith(var.node_security_group_id, "sg-")
    error_message = "node_security_group_id must begin with sg-."
  }
}

variable "caller_cidrs" {
  description = "Networks from which calls come. Private networks only."
  type        = set(string)

  validation {
    condition     = length(var.caller_cidrs) > 0 && alltrue([for cidr in var.caller_cidrs : can(regex("^(10\\.|172\\.(1[6-9]|2[0-9]|3[01])\\.|192\\.168\\.|100\\.(6[4-9]|[7-9][0-9]|1[01][0-9]|12[0-7])\\.)", cidr)) && can(cidrnetmask(cidr))])
    error_message = "caller_cidrs must be private IPv4 networks (RFC 1918 or 100.64.0.0/10), at least one."
  }
}

variable "certificate_arn" {
  description = "ACM certificate of the name that clients connect to."
  type        = string

  validation {
    condition     = can(regex("^arn:[a-z-]+:acm:[a-z0-9-]+:[0-9]{12}:certificate/.+$", var.certificate_arn))
    error_message = "certificate_arn must be the ARN of an ACM certificate."
  }
}

variable "longest_call_s" {
  description = "Longest call in seconds, for which a deregistered machine keeps its connections. AWS allows at most 3600."
  type        = number
  default     = 3600

  validation {
    condition     = var.longest_call_s >= 60 && var.longest_call_s <= 3600
    error_message = "longest_call_s must be 60 to 3600, since AWS delays deregistration by at most an hour."
  }
}

variable "node_port" {
  description = "NodePort on which Kubernetes nodes take calls; null without Kubernetes."
  type        = number
  default     = null

  validation {
    condition     = var.node_port == null || try(var.node_port >= 30000 && var.node_port <= 32767, false)
    error_message = "node_port must be 30000 to 32767, or null."
  }
}

variable "serving" {
  description = "Who takes new calls: machines (EC2), or kubernetes (needs node_port). Calls in progress stay where they are."
  type        = string
  default     = "machines"

  validation {
    condition     = var.serving == "machines" || (var.serving == "kubernetes" && var.node_port != null)
    error_message = "serving is machines, or kubernetes with a node_port."
  }
}

variable "logs_bucket" {
  description = "Bucket of access logs."
  type        = string

  validation {
    condition     = length(var.logs_bucket) > 0
    error_message = "logs_bucket must not be empty."
  }
}

variable "private_link_principals" {
  description = "AWS principals that may connect through PrivateLink (each connection must still be accepted manually); empty for no PrivateLink."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.private_link_principals : can(regex("^arn:[a-z-]+:iam::[0-9]{12}:.+$", arn))])
    error_message = "private_link_principals must be ARNs of accounts, users or roles; never *."
  }
}

variable "deletion_protection" {
  description = "Whether the load balancer refuses to be deleted."
  type        = bool
  default     = true
}
