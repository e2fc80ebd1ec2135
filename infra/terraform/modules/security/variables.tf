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

variable "kubernetes" {
  description = "Whether pods on EKS may also assume the workload roles (through EKS Pod Identity)."
  type        = bool
  default     = false
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

variable "key_deletion_window_days" {
  description = "Days within which the deletion of a key can be undone."
  type        = number
  default     = 30

  validation {
    condition     = var.key_deletion_window_days >= 7 && var.key_deletion_window_days <= 30
    error_message = "key_deletion_window_days must be 7 to 30."
  }
}

variable "secret_recovery_window_days" {
  description = "Days within which the deletion of a secret can be undone. With 0 its name is free again at once."
  type        = number
  default     = 30

  validation {
    condition     = var.secret_recovery_window_days == 0 || (var.secret_recovery_window_days >= 7 && var.secret_recovery_window_days <= 30)
    error_message = "secret_recovery_window_days must be 0, or 7 to 30."
  }
}

variable "ray_token_version" {
  description = "Version of the Ray token. Increment it to create a new token, after which every machine must be restarted."
  type        = number
  default     = 1

  validation {
    condition     = var.ray_token_version >= 1 && floor(var.ray_token_version) == var.ray_token_version
    error_message = "ray_token_version must be a whole number from 1."
  }
}
