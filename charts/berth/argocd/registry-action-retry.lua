-- Asks the newest roll-out of a Registry to retry.
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["berth.dev/rollout-retry"] = obj.status.rollout.id .. " by Argo CD"
return obj
