locals {
  alarms = var.auto_recovery ? {
    host   = { metric = "StatusCheckFailed_System", action = "recover", minutes = 2, text = "its host has failed: it is moved to another one" }
    system = { metric = "StatusCheckFailed_Instance", action = "reboot", minutes = 3, text = "it does not answer: it is restarted" }
  } : {}
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name          = "${var.name}-relay-${each.key}"
  alarm_description   = "Roost relay: ${each.value.text}"
  namespace           = "AWS/EC2"
  metric_name         = each.value.metric
  dimensions          = { InstanceId = aws_instance.this.id }
  statistic           = "Maximum"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  period              = 60
  evaluation_periods  = each.value.minutes
  alarm_actions       = ["arn:${data.aws_partition.current.partition}:automate:${data.aws_region.current.region}:ec2:${each.value.action}"]
  tags                = local.tags
}

resource "aws_budgets_budget" "this" {
  count = var.budget_email == null ? 0 : 1

  name         = "${var.name}-relay-${data.aws_region.current.region}"
  budget_type  = "COST"
  time_unit    = "MONTHLY"
  limit_amount = tostring(var.budget_usd)
  limit_unit   = "USD"

  dynamic "notification" {
    for_each = { ACTUAL = 80, FORECASTED = 100 }
    content {
      notification_type          = notification.key
      comparison_operator        = "GREATER_THAN"
      threshold                  = notification.value
      threshold_type             = "PERCENTAGE"
      subscriber_email_addresses = [var.budget_email]
    }
  }

  tags = local.tags
}
