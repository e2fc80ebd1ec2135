output "alarm_topic_arn" {
  description = "Topic of alarms and budget warnings."
  value       = aws_sns_topic.alarms.arn
}

output "prometheus_write_url" {
  description = "Where Prometheus agents write metrics (SigV4, role of the machine)."
  value       = "${aws_prometheus_workspace.this.prometheus_endpoint}api/v1/remote_write"
}

output "alarm_names" {
  description = "Names of all alarms."
  value       = sort([for alarm in aws_cloudwatch_metric_alarm.this : alarm.alarm_name])
}
