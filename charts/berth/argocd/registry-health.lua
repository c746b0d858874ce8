-- Health of a Registry for Argo CD. The first rule that holds decides.
local hs = {}

local function condition(type)
  if obj.status ~= nil and obj.status.conditions ~= nil then
    for _, found in ipairs(obj.status.conditions) do
      if found.type == type and found.status == "True" then
        return found
      end
    end
  end
  return nil
end

local function healthy(status, message)
  hs.status = status
  hs.message = message
  return hs
end

if obj.spec ~= nil and obj.spec.suspend == true then
  return healthy("Suspended", "spec.suspend is set")
end
if obj.status == nil or obj.status.observedGeneration == nil then
  return healthy("Progressing", "the operator has not seen it yet")
end
if obj.status.observedGeneration ~= obj.metadata.generation then
  return healthy("Progressing", "the operator has not seen the newest spec yet")
end

local rollout = obj.status.rollout
if rollout ~= nil then
  if rollout.phase == "Paused" or rollout.phase == "AwaitingApproval" then
    return healthy("Suspended", rollout.message)
  end
  if rollout.phase == "Held" then
    return healthy("Degraded", rollout.message)
  end
end

for _, type in ipairs({ "Stalled", "Degraded" }) do
  local bad = condition(type)
  if bad ~= nil then
    return healthy("Degraded", bad.reason .. ": " .. bad.message)
  end
end
if rollout ~= nil and (rollout.phase == "RolledBack" or rollout.phase == "Failed") then
  return healthy("Degraded", rollout.message)
end
for _, type in ipairs({ "Reconciling", "Progressing" }) do
  local going = condition(type)
  if going ~= nil then
    return healthy("Progressing", going.reason .. ": " .. going.message)
  end
end
local ready = condition("Ready")
if ready ~= nil then
  return healthy("Healthy", ready.message)
end
return healthy("Progressing", "it is not Ready")
