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

variable "permissions_boundary_arn" {
  description = "Permissions boundary that the company requires for roles; null for none."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary_arn == null || can(regex("^arn:[a-z-]+:iam::[0-9]{12}:policy/.+$", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn must be the ARN of an IAM policy, or null."
  }
}

variable "account_id" {
  description = "AWS account of the environment, the only one that the endpoints serve."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id must be 12 digits."
  }
}

variable "cidr" {
  description = "Address range of the VPC. Each zone gets an eighth of it for machines and a 64th for services."
  type        = string

  validation {
    condition     = can(cidrnetmask(var.cidr)) && try(tonumber(split("/", var.cidr)[1]), 0) >= 16 && try(tonumber(split("/", var.cidr)[1]), 99) <= 20
    error_message = "cidr must be an IPv4 range between /16 and /20, such as 10.40.0.0/16."
  }
}

variable "availability_zones" {
  description = "Names of two or three zones that have the machine types of all pools."
  type        = list(string)

  validation {
    condition     = length(var.availability_zones) >= 2 && length(var.availability_zones) <= 3 && length(distinct(var.availability_zones)) == length(var.availability_zones)
    error_message = "availability_zones must name two or three different zones."
  }
}

variable "interface_services" {
  description = "AWS services with an interface endpoint, given by the last part of their service name."
  type        = set(string)
  default = [
    "autoscaling", "ec2", "ec2messages", "ecr.api", "ecr.dkr", "elasticloadbalancing", "kms", "logs",
    "monitoring", "secretsmanager", "ssm", "ssmmessages", "sts",
  ]

  validation {
    condition     = length(setsubtract(["ec2", "ecr.api", "ecr.dkr", "kms", "logs", "secretsmanager", "sts"], var.interface_services)) == 0
    error_message = "Without ec2, ecr.api, ecr.dkr, kms, logs, secretsmanager and sts no machine of a private VPC can start and join."
  }
}

variable "services_without_policy" {
  description = "Interface services whose endpoints take no policy."
  type        = set(string)
  default     = []

  validation {
    condition     = length(setsubtract(var.services_without_policy, var.interface_services)) == 0
    error_message = "services_without_policy must be some of interface_services."
  }
}

variable "logs_key_arn" {
  description = "Key that encrypts the flow logs."
  type        = string

  validation {
    condition     = startswith(var.logs_key_arn, "arn:")
    error_message = "logs_key_arn must be an ARN."
  }
}

variable "flow_log_retention_days" {
  description = "Days for which flow logs are kept."
  type        = number
  default     = 365

  validation {
    condition     = contains([30, 60, 90, 180, 365, 400, 545, 731], var.flow_log_retention_days)
    error_message = "flow_log_retention_days must be one of 30, 60, 90, 180, 365, 400, 545, 731."
  }
}
