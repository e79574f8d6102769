# Needs no provider and no network: terraform test.

variables {
  box_public_key = "KKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKo="
  region         = "eu-central-1"
  key_parameter  = "/roost/relay/wireguard-key"
  tsig_parameter = "/roost/relay/tsig-secret"
  zones          = ["example.org", "example.net"]
  public_ipv4    = ["203.0.113.5"]
  second_ipv4    = ["10.76.0.11"]
  second_ipv6    = ["2001:db8:a::53"]
}

run "user_data_reads_back_as_the_files" {
  command = apply

  assert {
    condition     = startswith(output.user_data, "#cloud-config\n")
    error_message = "cloud-init knows its own only by the first line"
  }
  assert {
    condition     = [for file in yamldecode(output.user_data).write_files : { path = file.path, permissions = try(file.permissions, "0644"), content = file.content }] == output.files
    error_message = "what was written by hand is read otherwise"
  }
  assert {
    condition     = length(output.user_data) < 16384
    error_message = "EC2 takes 16 KB"
  }
  assert {
    condition     = alltrue([for file in output.files : strcontains(output.script, file.content) && strcontains(output.script, "put ${file.path} ${file.permissions} <<")])
    error_message = "the script lacks a file"
  }
  assert {
    condition     = alltrue([for file in output.files : !strcontains(file.content, "ROOST-END")])
    error_message = "a file would end the script's quotation"
  }
  assert {
    condition     = length(distinct(output.files[*].path)) == length(output.files)
    error_message = "a file is written twice"
  }
}

run "a_machine_elsewhere_makes_its_own_keys" {
  command = apply
  variables {
    region         = null
    key_parameter  = null
    tsig_parameter = null
    ssh_port       = 22
  }

  assert {
    condition     = anytrue([for file in output.files : strcontains(file.content, "REGION=''") && strcontains(file.content, "SSH_PORT='22'")])
    error_message = "the scripts would look for AWS"
  }
  assert {
    condition     = anytrue([for file in output.files : strcontains(file.content, "tcp dport 22 accept")])
    error_message = "the owner would be locked out"
  }
}

run "without_zones_the_box_answers_alone" {
  command = apply
  variables {
    zones          = []
    tsig_parameter = null
    second_ipv6    = []
  }

  assert {
    condition     = length([for file in output.files : file if strcontains(file.path, "knot")]) == 0
    error_message = "there is a name server without zones"
  }
  assert {
    condition     = anytrue([for file in output.files : strcontains(file.content, "map dns4 { type inet_service : ipv4_addr; elements = { 53 : 10.77.0.2 } }")])
    error_message = "DNS does not lead to the box"
  }
}

run "other_networks_reach_every_file" {
  command = apply
  variables {
    tunnel_ipv4    = "192.168.9.4/30"
    tunnel_ipv6    = "fd12:3456:789a::4/126"
    wireguard_port = 4500
    tunnel_mtu     = 1300
  }

  assert {
    condition     = output.relay_ipv4 == "192.168.9.5" && output.box_ipv4 == "192.168.9.6" && output.relay_ipv6 == "fd12:3456:789a::5" && output.box_ipv6 == "fd12:3456:789a::6"
    error_message = "the addresses inside the tunnel are others"
  }
  assert {
    condition     = !strcontains(output.user_data, "10.77.0") && !strcontains(output.user_data, "fd77:77") && !strcontains(output.user_data, "51820")
    error_message = "a default is left somewhere"
  }
}

run "many_zones_are_told_before_aws_is_asked" {
  command = plan
  variables {
    zones = [for number in range(200) : "example-${number}.org"]
  }
  expect_failures = [output.user_data]
}

run "short_key" {
  command = plan
  variables {
    box_public_key = "KKKK"
  }
  expect_failures = [var.box_public_key]
}

run "key_with_bits_beyond_32_bytes" {
  command = plan
  variables {
    box_public_key = "KKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKK="
  }
  expect_failures = [var.box_public_key]
}

run "no_region" {
  command = plan
  variables {
    region = "frankfurt"
  }
  expect_failures = [var.region]
}

run "no_parameter" {
  command = plan
  variables {
    key_parameter  = null
    tsig_parameter = "tsig"
  }
  expect_failures = [var.key_parameter, var.tsig_parameter]
}

run "a_shell_in_a_name" {
  command = plan
  variables {
    zones = ["example.org'; reboot"]
  }
  expect_failures = [var.zones]
}

run "a_zone_twice" {
  command = plan
  variables {
    zones = ["example.org", "example.org"]
  }
  expect_failures = [var.zones]
}

run "networks_of_the_wrong_size" {
  command = plan
  variables {
    tunnel_ipv4 = "10.77.0.0/24"
    tunnel_ipv6 = "2001:db8::/126"
  }
  expect_failures = [var.tunnel_ipv4, var.tunnel_ipv6]
}

run "numbers_out_of_range" {
  command = plan
  variables {
    wireguard_port = 80
    tunnel_mtu     = 1500
    ssh_port       = 443
    reboot_time    = "24:00"
  }
  expect_failures = [var.wireguard_port, var.tunnel_mtu, var.ssh_port, var.reboot_time]
}

run "addresses_that_are_none" {
  command = plan
  variables {
    public_ipv4 = ["203.0.113.256"]
    second_ipv4 = ["mail.example.org"]
    second_ipv6 = ["203.0.113.5"]
  }
  expect_failures = [var.public_ipv4, var.second_ipv4, var.second_ipv6]
}

run "session_manager_elsewhere" {
  command = plan
  variables {
    region          = null
    session_manager = true
  }
  expect_failures = [var.session_manager]
}
