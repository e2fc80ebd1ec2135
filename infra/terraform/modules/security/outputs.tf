output "key_arns" {
  description = "ARN of the key of each class of data."
  value       = { for class, key in aws_kms_key.this : class => key.arn }
}

output "role_names" {
  description = "Name of the role of each workload."
  value       = { for workload, role in aws_iam_role.workload : workload => role.name }
}

output "role_arns" {
  description = "ARN of the role of each workload."
  value       = { for workload, role in aws_iam_role.workload : workload => role.arn }
}

output "instance_profile_names" {
  description = "Name of the instance profile of each workload."
  value       = { for workload, profile in aws_iam_instance_profile.workload : workload => profile.name }
}

output "autoscaling_role_arn" {
  description = "Service-linked role that starts the machines of groups, as the volumes' key permits."
  value       = aws_iam_service_linked_role.autoscaling.arn
}

output "ray_token_secret_arn" {
  description = "Secret that holds the token of the Ray cluster."
  value       = aws_secretsmanager_secret.ray_token.arn
}
